/**
 * The Fetch messages on the wire, ready encoded: the service definition's
 * serializer hands them through. A chunk is framed in place, around bytes that
 * were read into a buffer behind some headroom, so that protobuf costs no copy;
 * the bytes are those that the generated code would write.
 */
import { FetchResponse } from '../gen/layercache/v1/layer_cache.js';

/** Bytes that a buffer needs before the chunk: the field's tag and a length of up to 28 bits. */
export const headroom = 5;

// Field 2, wire type 2: `bytes chunk = 2`.
const chunkTag = (2 << 3) | 2;

/** The message whose chunk is the `length` bytes behind the headroom of `buffer`; a view of that buffer. */
export function frameChunk(buffer: Buffer, length: number): Buffer {
  const start = headroom - 1 - varintLength(length);
  buffer[start] = chunkTag;
  let rest = length;
  let at = start + 1;
  while (rest > 0x7f) {
    buffer[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[at] = rest;
  return buffer.subarray(start, headroom + length);
}

/** The message that says what is served. */
export function encodeHeader(value: {
  digest: string;
  length: bigint;
  offset: bigint;
  source: number;
  redirectUrl: string;
}): Buffer {
  return Buffer.from(FetchResponse.encode({ part: { $case: 'header', value } }).finish());
}

function varintLength(value: number): number {
  if (value < 1 << 7) return 1;
  if (value < 1 << 14) return 2;
  if (value < 1 << 21) return 3;
  return 4;
}
