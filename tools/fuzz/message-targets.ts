/** Requests, answers and frames as bytes: what we read and write ourselves against the generated code. */
import { strict as assert } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import {
  type ExistsResponse,
  FetchResponse,
  FindMissingRequest,
  LayerCacheServiceService,
} from '../../src/gen/layercache/v1/layer_cache.js';
import { framePrefix } from '../../src/grpc/frame.js';
import { InvalidInputError } from '../../src/layer/errors.js';
import { frameChunk, frameHeader, headroom } from '../../src/rpc/chunk-frame.js';
import { encodeExists } from '../../src/rpc/exists-answer.js';
import { type FindMissingRead, readFindMissing } from '../../src/rpc/find-missing-request.js';
import {
  maxChunkSize,
  minChunkSize,
  parseChunkSize,
  parseDigestField,
  parseDigests,
  parseMaxAge,
  parseMeta,
  parseRange,
  parseRepository,
} from '../../src/rpc/request.js';
import { digests, nearly, nearlyBytes, repositories } from './inputs.ts';
import { type Target, target } from './targets.ts';

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const int32 = fc.integer();
const maxAge = fc.option(fc.record({ seconds: int64, nanos: int32 }), { nil: undefined });
const repository = nearly(repositories);
const digest = nearly(digests);
const findMissing = fc.record({ repository, digests: fc.array(digest, { maxLength: 8 }), maxAge });

const service = LayerCacheServiceService;
type Rpc = keyof typeof service;

/** Of each RPC: requests to damage, and what its handler makes of one. */
const rpcs: Readonly<Record<Rpc, { requests: fc.Arbitrary<object>; parse(request: never): void }>> = {
  exists: { requests: fc.record({ repository, digest, maxAge }), parse: parseAged },
  stat: { requests: fc.record({ repository, digest, maxAge }), parse: parseAged },
  findMissing: {
    requests: findMissing,
    parse: (request: Parameters<typeof service.findMissing.requestSerialize>[0]) => {
      parseRepository(request.repository);
      parseDigests(request.digests);
      assertAge(parseMaxAge(request.maxAge));
    },
  },
  fetch: {
    requests: fc.record({
      repository,
      digest,
      offset: int64,
      limit: int64,
      chunkSize: int32,
      redirect: fc.integer({ min: 0, max: 5 }),
      maxAge,
    }),
    parse: (request: Parameters<typeof service.fetch.requestSerialize>[0]) => {
      parseAged(request);
      const { offset, limit } = parseRange(request);
      assert.ok(Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(limit) && limit >= 0);
      const size = parseChunkSize(request.chunkSize, minChunkSize);
      assert.ok(size >= minChunkSize && size <= maxChunkSize);
    },
  },
  contains: { requests: fc.record({ repository, digest }), parse: parseNamed },
  add: { requests: fc.record({ repository, digest }), parse: parseNamed },
  remove: { requests: fc.record({ repository, digest }), parse: parseNamed },
  getMeta: {
    requests: fc.record({ digest }),
    parse: (request: { digest: string }) => void parseDigestField(request.digest),
  },
  setMeta: {
    requests: fc.record({
      digest,
      meta: fc.option(fc.record({ path: fc.string({ unit: 'binary' }), length: int64 }), { nil: undefined }),
    }),
    parse: (request: Parameters<typeof service.setMeta.requestSerialize>[0]) => {
      parseDigestField(request.digest);
      const { path, length } = parseMeta(request.meta);
      assert.ok(path !== '' && Number.isSafeInteger(length) && length >= 0);
    },
  },
};

function parseNamed(request: { repository: string; digest: string }): void {
  parseRepository(request.repository);
  parseDigestField(request.digest);
}

function parseAged(request: Parameters<typeof service.exists.requestSerialize>[0]): void {
  parseNamed(request);
  assertAge(parseMaxAge(request.maxAge));
}

function assertAge(age: number | undefined): void {
  assert.ok(age === undefined || (Number.isFinite(age) && age >= 0));
}

const names = Object.keys(rpcs) as Rpc[];
const requests = fc.constantFrom(...names).chain((name) => {
  const serialize = service[name].requestSerialize as (request: object) => Buffer;
  const bytes = rpcs[name].requests.map((request) => new Uint8Array(serialize(request)));
  return fc.record({ name: fc.constant(name), bytes: nearlyBytes(bytes) });
});

/** A request is not decoded, which the transport answers; or refused with a typed error; or taken. */
const requestTarget = target('request', 4, requests, ({ name, bytes }) => {
  let request: unknown;
  try {
    request = service[name].requestDeserialize(bytes);
  } catch (error) {
    assert.ok(error instanceof Error);
    return;
  }
  try {
    rpcs[name].parse(request as never);
  } catch (error) {
    assert.ok(error instanceof InvalidInputError, String(error));
  }
});

/** The decoders agree; and of what ours calls valid, so does the parser. */
export function findMissingTarget(
  read: (bytes: Buffer) => FindMissingRequest & Partial<FindMissingRead> = readFindMissing,
): Target {
  const readAlone = (message: Buffer) => {
    const { valid, ...request } = read(message);
    return { request, valid };
  };
  const bytes = findMissing.map((request) => FindMissingRequest.encode(request).finish());
  return target('FindMissing request, two decoders', 4, nearlyBytes(bytes), (message) => {
    const ours = outcome(readAlone, message);
    const theirs = outcome(FindMissingRequest.decode, message);
    assert.deepEqual(ours === 'refused' ? ours : ours.request, theirs);
    if (ours === 'refused' || ours.valid === undefined) return;
    assert.deepEqual(ours.valid, parseDigests(ours.request.digests));
  });
}

function outcome<T>(read: (message: Buffer) => T, message: Buffer): T | 'refused' {
  try {
    return read(Buffer.from(message));
  } catch {
    return 'refused';
  }
}

const existsTarget = target(
  'Exists answer, two encoders',
  1,
  fc.record({ exists: fc.boolean(), source: fc.integer({ min: 0, max: 9 }) }),
  (answer) => {
    const generated = service.exists.responseSerialize(answer as ExistsResponse);
    assert.ok(
      encodeExists(answer as ExistsResponse)
        .subarray(framePrefix)
        .equals(generated),
    );
  },
);

const headers = fc.record({
  digest: digests,
  length: fc.oneof(fc.nat(300), fc.maxSafeNat()),
  offset: fc.oneof(fc.nat(300), fc.maxSafeNat()),
  source: fc.nat(2),
});

const fetchFrames = fc.record({ header: headers, bytes: fc.uint8Array({ minLength: 1, maxLength: 600 }) });

/** Our frames, read by the generated decoder, are what was framed; nothing lies between them. */
const frameTarget = target('Fetch frames, our encoder and the generated decoder', 4, fetchFrames, (input) => {
  const { header, bytes } = input;
  const buffer = Buffer.alloc(headroom + bytes.length, 0xee);
  buffer.set(bytes, headroom);
  const chunkAt = frameChunk(buffer, bytes.length);
  const headerAt = frameHeader(buffer, chunkAt, header);
  const messages = [buffer.subarray(headerAt, chunkAt), buffer.subarray(chunkAt)].map((frame) => {
    assert.equal(frame[0], 0);
    assert.equal(frame.readUInt32BE(1), frame.length - framePrefix);
    return FetchResponse.decode(frame.subarray(framePrefix)).part;
  });
  const expected = {
    ...header,
    length: BigInt(header.length),
    offset: BigInt(header.offset),
    redirectUrl: '',
  };
  assert.ok(isDeepStrictEqual(messages[0], { $case: 'header', value: expected }));
  assert.equal(messages[1]?.$case, 'chunk');
  assert.ok(messages[1].$case === 'chunk' && Buffer.from(bytes).equals(messages[1].value));
});

export const messageTargets: readonly Target[] = [
  requestTarget,
  findMissingTarget(),
  existsTarget,
  frameTarget,
];
