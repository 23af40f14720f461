import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FindMissingRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { readFindMissing } from '../../src/rpc/find-missing-request.js';

/** What a reader makes of the bytes, refusal included. */
function outcome(read: (message: Buffer) => FindMissingRequest, bytes: Uint8Array): unknown {
  try {
    return read(Buffer.from(bytes));
  } catch {
    return 'refused';
  }
}

function expectTheSame(bytes: Uint8Array): void {
  expect(outcome(readFindMissing, bytes)).toEqual(outcome(FindMissingRequest.decode, bytes));
}

const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
const digest = fc.oneof(
  { weight: 4, arbitrary: hex.map((text) => `sha256:${text}`) },
  fc.string({ unit: 'binary', maxLength: 200 }),
);
const request = fc.record({
  repository: fc.oneof(fc.constantFrom('library/alpine', 'a'), fc.string({ unit: 'binary', maxLength: 300 })),
  digests: fc.array(digest, { maxLength: 20 }),
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
    expect(readFindMissing(Buffer.from(FindMissingRequest.encode(value).finish()))).toEqual(value);
  } finally {
    FindMissingRequest.decode = decode;
  }
});
