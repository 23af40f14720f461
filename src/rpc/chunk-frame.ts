/**
 * The Fetch messages on the wire: complete gRPC frames, written in place. A
 * chunk is framed around bytes that were read into a buffer behind some
 * headroom, and the header is put in front of the first of them, so that
 * neither protobuf nor gRPC costs a copy; the bytes are those that the
 * generated code and grpc-js would write.
 */

import { framePrefix } from '../grpc/frame.js';

/** Bytes that a buffer needs before a chunk, for its frame and the header's. */
export const headroom = 256;

/** What the first message of a Fetch says about the layer. */
export interface Header {
  /** ASCII. */
  readonly digest: string;
  readonly length: number;
  readonly offset: number;
  readonly source: number;
  /** ASCII; where the client reads the bytes itself. */
  readonly redirectUrl?: string;
}

// Field number and wire type of the fields of `FetchResponse` and `FetchHeader`.
const headerTag = (1 << 3) | 2;
const chunkTag = (2 << 3) | 2;
const digestTag = (1 << 3) | 2;
const lengthTag = 2 << 3;
const offsetTag = 3 << 3;
const sourceTag = 4 << 3;
const redirectUrlTag = (5 << 3) | 2;

/**
 * Where frames are put together before they are copied in front of a chunk: a
 * stream's buffer is a resizable one, and each byte stored into it by itself is
 * a call into the engine (a tenth of a Fetch's CPU time, measured).
 */
const draft = Buffer.alloc(headroom);
const longestChunkFrame = framePrefix + 6;

/** Frames the `length` bytes behind the headroom of `buffer` as a chunk; returns where the frame begins. */
export function frameChunk(buffer: Uint8Array, length: number): number {
  const tagAt = longestChunkFrame - 1 - varintLength(length);
  putField(draft, tagAt, chunkTag, length);
  const from = putPrefix(draft, tagAt, longestChunkFrame - tagAt + length);
  return putInFront(buffer, headroom, draft.subarray(from, longestChunkFrame));
}

/** Frames the header so that it ends before `end`, where a chunk's frame may begin; returns where it begins. */
export function frameHeader(buffer: Uint8Array, end: number, header: Header): number {
  const { digest, length, offset, source, redirectUrl = '' } = header;
  const inner =
    fieldLength(digest.length) +
    digest.length +
    (length === 0 ? 0 : fieldLength(length)) +
    (offset === 0 ? 0 : fieldLength(offset)) +
    (source === 0 ? 0 : fieldLength(source)) +
    (redirectUrl === '' ? 0 : fieldLength(redirectUrl.length) + redirectUrl.length);
  const message = fieldLength(inner) + inner;
  const whole = framePrefix + message;
  if (whole > end) throw new RangeError('the header does not fit into the headroom');
  const frame = whole <= draft.length ? draft.subarray(0, whole) : Buffer.allocUnsafe(whole);
  putPrefix(frame, framePrefix, message);
  let at = putField(frame, framePrefix, headerTag, inner);
  at = putText(frame, at, digestTag, digest);
  // As proto3 has it, a field of its default value is not written.
  if (length !== 0) at = putField(frame, at, lengthTag, length);
  if (offset !== 0) at = putField(frame, at, offsetTag, offset);
  if (source !== 0) at = putField(frame, at, sourceTag, source);
  if (redirectUrl !== '') putText(frame, at, redirectUrlTag, redirectUrl);
  return putInFront(buffer, end, frame);
}

function putInFront(buffer: Uint8Array, end: number, frame: Uint8Array): number {
  const start = end - frame.length;
  buffer.set(frame, start);
  return start;
}

/** Writes gRPC's prefix in front of the message of that length at `start`; returns where it begins. */
function putPrefix(buffer: Uint8Array, start: number, length: number): number {
  buffer[start - 5] = 0;
  buffer[start - 4] = length >>> 24;
  buffer[start - 3] = length >>> 16;
  buffer[start - 2] = length >>> 8;
  buffer[start - 1] = length;
  return start - framePrefix;
}

function putText(buffer: Uint8Array, start: number, tag: number, text: string): number {
  let at = putField(buffer, start, tag, text.length);
  for (let i = 0; i < text.length; i++) buffer[at++] = text.charCodeAt(i);
  return at;
}

function putField(buffer: Uint8Array, at: number, tag: number, value: number): number {
  buffer[at] = tag;
  return putVarint(buffer, at + 1, value);
}

/** Safe integers, so without bit operations above 32 bits. */
function putVarint(buffer: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest > 0x7f) {
    buffer[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  buffer[at++] = rest;
  return at;
}

/** Bytes of a field's tag and of the varint behind it. */
function fieldLength(value: number): number {
  return 1 + varintLength(value);
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) length++;
  return length;
}
