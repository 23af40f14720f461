import fc from 'fast-check';
import { expect, it } from 'vitest';
import { StatResponse } from '../../src/gen/layercache/v1/layer_cache.js';
import { frameOf } from '../../src/grpc/frame.js';
import { encodeStat } from '../../src/rpc/stat-answer.js';

const hex = (length: number) =>
  fc.string({
    unit: fc.constantFrom(...'0123456789abcdef'),
    minLength: length,
    maxLength: length,
  });
const digests = fc.oneof(
  hex(64).map((text) => `sha256:${text}`),
  hex(96).map((text) => `sha384:${text}`),
  hex(128).map((text) => `sha512:${text}`),
  fc.constant(''),
);
/** Around each length of a varint, and anything between. */
const lengths = fc.oneof(
  fc
    .tuple(fc.nat(53), fc.integer({ min: -1, max: 1 }))
    .map(([bits, by]) => BigInt(Math.max(0, 2 ** bits + by))),
  fc.maxSafeNat().map(BigInt),
);

it('writes a Stat answer as the generated encoder does', () => {
  fc.assert(
    fc.property(digests, lengths, fc.constantFrom(0, 1, 2), (digest, raw, source) => {
      const length = raw > BigInt(Number.MAX_SAFE_INTEGER) ? BigInt(Number.MAX_SAFE_INTEGER) : raw;
      const answer: StatResponse = { digest, length, source };
      expect(encodeStat(answer).equals(frameOf(StatResponse.encode(answer).finish()))).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
