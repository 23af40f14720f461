import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FindMissingRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { readFindMissing } from '../../src/rpc/find-missing-request.js';
import { maxDigests, parseDigests } from '../../src/rpc/request.js';

/** What a reader makes of the bytes, refusal included. */
function outcome(read: (message: Buffer) => FindMissingRequest, bytes: Uint8Array): unknown {
  try {
    return read(Buffer.from(bytes));
  } catch {
    return 'refused';
  }
}

function readPlainly(message: Buffer): FindMissingRequest {
  const { valid, ...request } = readFindMissing(message);
  if (valid !== undefined) expect(parseDigests(request.digests)).toEqual(valid);
  return request;
}

function expectTheSame(bytes: Uint8Array): void {
  expect(outcome(readPlainly, bytes)).toEqual(outcome(FindMissingRequest.decode, bytes));
}

function encoded(digests: string[]): Buffer {
  return Buffer.from(
    FindMissingRequest.encode({ repository: 'library/alpine', digests, maxAge: undefined }).finish(),
  );
}

const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
const digest = fc.oneof(
  { weight: 4, arbitrary: hex.map((text) => `sha256:${text}`) },
  fc.string({ unit: 'binary', maxLength: 200 }),
);
const ours = fc.array(
  hex.map((text) => `sha256:${text}`),
  { maxLength: 20 },
);
const request = fc.record({
  repository: fc.oneof(fc.constantFrom('library/alpine', 'a'), fc.string({ unit: 'binary', maxLength: 300 })),
  digests: fc.oneof(fc.array(digest, { maxLength: 20 }), ours),
  maxAge: fc.option(fc.record({ seconds: fc.bigInt({ min: 0n, max: 100n }), nanos: fc.nat(1000) }), {
    nil: undefined,
    freq: 4,
  }),
});

it('gives what the generated decoder gives, for every request', () => {
  fc.assert(
    fc.property(request, (value) => expectTheSame(FindMissingRequest.encode(value).finish())),
    {
      numRuns: 1000,
    },
  );
});

it('and for every request that was damaged', () => {
  fc.assert(
    fc.property(request, fc.nat(), fc.nat(), fc.nat(255), fc.boolean(), (value, cut, at, byte, end) => {
      const bytes = FindMissingRequest.encode(value).finish();
      if (bytes.length === 0) return;
      const damaged = Uint8Array.from(bytes);
      damaged[at % bytes.length] = byte;
      expectTheSame(damaged.subarray(0, end ? damaged.length : cut % damaged.length));
    }),
    { numRuns: 5000 },
  );
});

it('and for any bytes of which messages are made', () => {
  const byte = fc.constantFrom(0x0a, 0x12, 0x1a, 0x00, 0x01, 0x02, 0x03, 0x05, 0x08, 0x7f, 0x80, 0xff);
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 40 }), (bytes) => expectTheSame(Uint8Array.from(bytes))),
    { numRuns: 20_000 },
  );
});

it('cuts the texts of a plain message, without the decoder', () => {
  const value = {
    repository: 'library/alpine',
    digests: [`sha256:${'0'.repeat(64)}`, 'x', ''],
    maxAge: undefined,
  };
  const { decode } = FindMissingRequest;
  try {
    FindMissingRequest.decode = () => {
      throw new Error('the decoder was asked');
    };
    expect(readPlainly(Buffer.from(FindMissingRequest.encode(value).finish()))).toEqual(value);
  } finally {
    FindMissingRequest.decode = decode;
  }
});

it('has checked the digests of nearly every request', () => {
  for (const count of [1, 2, 100, maxDigests]) {
    const digests = Array.from({ length: count }, (_, index) => sha256(`layer ${index}`));
    expect(readFindMissing(encoded(digests)).valid).toEqual(digests);
  }
});

it.each([
  ['one that is given twice', [sha256('a'), sha256('b'), sha256('a')]],
  ['none', []],
  ['one too many', Array.from({ length: maxDigests + 1 }, (_, index) => sha256(`layer ${index}`))],
  ['another algorithm', [`sha512:${'0'.repeat(128)}`]],
  ['no digest', [sha256('a').toUpperCase()]],
])('leaves to others what is not of that kind: %s', (_, digests) => {
  expect(readFindMissing(encoded(digests))).toMatchObject({ digests, valid: undefined });
});

it('takes no two digests for distinct that are not, wherever they stand', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(hex, { minLength: 1, maxLength: 60 }),
      fc.nat(),
      fc.nat(),
      (hashes, from, to) => {
        const digests = hashes.map((text) => `sha256:${text}`);
        const repeated = digests[from % digests.length] ?? '';
        digests.splice(to % (digests.length + 1), 0, repeated);
        expect(readFindMissing(encoded(digests)).valid).toBeUndefined();
      },
    ),
  );
});

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
