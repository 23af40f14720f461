/** HTTP/2 by hand, frame by frame, for a client that no library lets one be. */
import type { Socket } from 'node:net';

export const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;

export const endStream = 1;
export const endHeaders = 4;

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

const frameHead = 9;

export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(frameHead);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The client's settings; without one the defaults hold. */
export function settingsFrame(values: { initialWindow?: number } = {}): Buffer {
  if (values.initialWindow === undefined) return frame(types.settings, 0, 0, Buffer.alloc(0));
  const window = Buffer.alloc(6);
  window.writeUInt16BE(4, 0);
  window.writeUInt32BE(values.initialWindow, 2);
  return frame(types.settings, 0, 0, window);
}

/** Widens the window of a stream, or of the connection for stream 0. */
export function windowFrame(stream: number, by: number): Buffer {
  return frame(types.window, 0, stream, u32(by));
}

/** Resets a stream with CANCEL. */
export function resetFrame(stream: number): Buffer {
  return frame(types.reset, 0, stream, u32(8));
}

/** A gRPC message in its frame. */
export function grpcFrame(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0]), u32(message.length), message]);
}

/** The HEADERS of a call; more fields come behind gRPC's own. */
export function callHeaders(
  path: string,
  stream: number,
  more: readonly (readonly [string, string])[] = [],
): Buffer {
  return frame(types.headers, endHeaders, stream, headerBlock(path, more));
}

/** The header block of a call, in HPACK's plainest form. */
export function headerBlock(path: string, more: readonly (readonly [string, string])[] = []): Buffer {
  const fields = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'layercache.test'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ] as const;
  return Buffer.concat(fields.map(literal));
}

/** A whole call: its HEADERS and its one message. */
export function callFrames(path: string, stream: number, message: Uint8Array): Buffer {
  return Buffer.concat([callHeaders(path, stream), frame(types.data, endStream, stream, grpcFrame(message))]);
}

/** Opens a connection with windows as wide as they get, and sends a Fetch on it. */
export function fetchFrames(stream: number, message: Uint8Array): Buffer {
  return Buffer.concat([
    preface,
    settingsFrame({ initialWindow: 2 ** 31 - 1 }),
    windowFrame(0, 2 ** 31 - 1 - 65_535),
    callFrames('/layercache.v1.LayerCacheService/Fetch', stream, message),
  ]);
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The whole frames at the beginning of what was received. */
export function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + frameHead <= bytes.length; ) {
    const end = at + frameHead + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + frameHead, end),
    });
    at = end;
  }
  return frames;
}

/** The DATA payloads of a stream, as they lie between the frames' heads, once the socket has ended. */
export async function dataFrom(socket: Socket, stream: number): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece);
  return framesOf(Buffer.concat(pieces))
    .filter((one) => one.type === types.data && one.stream === stream)
    .map(({ payload }) => payload);
}

/** A header field as HPACK has it, neither indexed nor compressed. */
function literal([name, value]: readonly [string, string]): Buffer {
  return Buffer.concat([
    Buffer.from([0]),
    hpackLength(name.length),
    Buffer.from(name),
    hpackLength(value.length),
    Buffer.from(value),
  ]);
}

/** HPACK's integer with a prefix of seven bits. */
function hpackLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}
