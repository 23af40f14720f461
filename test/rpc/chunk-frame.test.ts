import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FetchResponse, LayerCacheServiceService } from '../../src/gen/layercache/v1/layer_cache.js';
import { frameChunk, headroom } from '../../src/rpc/chunk-frame.js';
import { maxChunkSize } from '../../src/rpc/request.js';

function generated(value: Buffer): Buffer {
  return LayerCacheServiceService.fetch.responseSerialize({ part: { $case: 'chunk', value } });
}

function framed(bytes: Uint8Array, capacity = bytes.length): Buffer {
  const buffer = Buffer.alloc(headroom + capacity, 0xee);
  buffer.set(bytes, headroom);
  return frameChunk(buffer, bytes.length);
}

it('a framed chunk has the bytes that the generated code writes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40_000 }), fc.nat(100), (bytes, spare) => {
      expect(framed(bytes, bytes.length + spare).equals(generated(Buffer.from(bytes)))).toBe(true);
    }),
  );
});

it.each([1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, maxChunkSize])(
  'a chunk of %i bytes is framed as the generated code does',
  (length) => {
    const bytes = Buffer.alloc(length, 'layer');
    expect(framed(bytes).equals(generated(bytes))).toBe(true);
    const { part } = FetchResponse.decode(framed(bytes));
    expect(part?.$case === 'chunk' && part.value.equals(bytes)).toBe(true);
  },
);
