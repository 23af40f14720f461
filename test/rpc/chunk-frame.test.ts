import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type FetchResponse,
  LayerCacheServiceService,
  Source,
} from '../../src/gen/layercache/v1/layer_cache.js';
import { frameChunk, frameHeader, type Header, headroom } from '../../src/rpc/chunk-frame.js';
import { maxChunkSize } from '../../src/rpc/request.js';

/** The frame that grpc-js makes of what the generated code writes. */
function generated(response: FetchResponse): Buffer {
  const message = LayerCacheServiceService.fetch.responseSerialize(response);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

const generatedChunk = (value: Buffer) => generated({ part: { $case: 'chunk', value } });

const generatedHeader = ({ digest, length, offset, source, redirectUrl = '' }: Header) =>
  generated({
    part: {
      $case: 'header',
      value: { digest, length: BigInt(length), offset: BigInt(offset), source, redirectUrl },
    },
  });

function framed(bytes: Uint8Array, capacity = bytes.length): Buffer {
  const buffer = Buffer.alloc(headroom + capacity, 0xee);
  buffer.set(bytes, headroom);
  return buffer.subarray(frameChunk(buffer, bytes.length), headroom + bytes.length);
}

const headers = fc.record<Header>({
  digest: fc.oneof(
    ...[64, 96, 128].map((length) =>
      fc
        .string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })
        .map((hex) => `sha${length * 4}:${hex}`),
    ),
  ),
  length: fc.oneof(fc.nat(300), fc.maxSafeNat()),
  offset: fc.oneof(fc.nat(300), fc.maxSafeNat()),
  source: fc.constantFrom(Source.SOURCE_UNSPECIFIED, Source.SOURCE_CACHE, Source.SOURCE_UPSTREAM),
});

describe('a chunk', () => {
  it('is framed as the generated code and grpc-js do', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40_000 }), fc.nat(100), (bytes, spare) => {
        expect(framed(bytes, bytes.length + spare).equals(generatedChunk(Buffer.from(bytes)))).toBe(true);
      }),
    );
  });

  it.each([1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, maxChunkSize])(
    'of %i bytes is framed as the generated code and grpc-js do',
    (length) => {
      const bytes = Buffer.alloc(length, 'layer');
      expect(framed(bytes).equals(generatedChunk(bytes))).toBe(true);
    },
  );
});

describe('the header', () => {
  it('is framed as the generated code and grpc-js do', () => {
    fc.assert(
      fc.property(headers, (header) => {
        const buffer = Buffer.alloc(headroom, 0xee);
        const start = frameHeader(buffer, headroom, header);
        expect(buffer.subarray(start).equals(generatedHeader(header))).toBe(true);
        expect(buffer.subarray(0, start).every((byte) => byte === 0xee)).toBe(true);
      }),
    );
  });

  it('and the first chunk, however long both are, fit into the headroom', () => {
    fc.assert(
      fc.property(headers, fc.integer({ min: 1, max: 70_000 }), (header, length) => {
        const buffer = Buffer.alloc(headroom + length, 'layer');
        const bytes = Buffer.from(buffer.subarray(headroom));
        const start = frameHeader(buffer, frameChunk(buffer, length), header);
        const both = Buffer.concat([generatedHeader(header), generatedChunk(bytes)]);
        expect(buffer.subarray(start).equals(both)).toBe(true);
      }),
    );
  });

  it('with a URL is framed as the generated code and grpc-js do', () => {
    const url = fc.string({ unit: fc.constantFrom(...'abc/:?=&%2F-_.~'), maxLength: 20_000 });
    fc.assert(
      fc.property(headers, url, (plain, redirectUrl) => {
        const header = { ...plain, redirectUrl };
        const buffer = Buffer.alloc(24_000, 0xee);
        const start = frameHeader(buffer, buffer.length, header);
        expect(buffer.subarray(start).equals(generatedHeader(header))).toBe(true);
      }),
    );
  });

  it('that does not fit is refused', () => {
    const header = { digest: 'a'.repeat(headroom), length: 1, offset: 0, source: 1 };
    expect(() => frameHeader(Buffer.alloc(headroom), headroom, header)).toThrow(RangeError);
  });
});
