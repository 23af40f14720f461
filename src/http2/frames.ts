/** The layout of frames (RFC 9113, 4.1 and 6). */

/** Bytes before a frame's payload. */
export const frameHeaderBytes = 9;

/** The largest payload that we accept, and that a peer accepts until it says otherwise (RFC 9113, 4.2). */
export const defaultMaxFrameBytes = 16_384;

/** What a client's connection begins with, before its SETTINGS (RFC 9113, 3.4). */
export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const frameTypes = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const flags = {
  /** DATA, HEADERS. */
  endStream: 0x1,
  /** SETTINGS, PING. */
  ack: 0x1,
  /** HEADERS, CONTINUATION. */
  endHeaders: 0x4,
  /** DATA, HEADERS. */
  padded: 0x8,
  /** HEADERS. */
  priority: 0x20,
} as const;

/** Writes a frame's header at `at`; returns where its payload begins. */
export function writeFrameHeader(
  to: Buffer,
  at: number,
  { length, type, flags, streamId }: { length: number; type: number; flags: number; streamId: number },
): number {
  to[at] = length >>> 16;
  to[at + 1] = length >>> 8;
  to[at + 2] = length;
  to[at + 3] = type;
  to[at + 4] = flags;
  to[at + 5] = streamId >>> 24;
  to[at + 6] = streamId >>> 16;
  to[at + 7] = streamId >>> 8;
  to[at + 8] = streamId;
  return at + frameHeaderBytes;
}

/** Where a DATA frame's header is put together. */
const dataHeader = Buffer.alloc(frameHeaderBytes);

/**
 * The header of a DATA frame without flags: as above, without an object for each
 * of thousands a second. It is copied to its place, which may lie in a resizable
 * buffer: there a byte stored by itself is a call into the engine.
 */
export function writeDataHeader(to: Buffer, at: number, length: number, streamId: number): void {
  dataHeader[0] = length >>> 16;
  dataHeader[1] = length >>> 8;
  dataHeader[2] = length;
  dataHeader[3] = frameTypes.data;
  dataHeader[4] = 0;
  dataHeader[5] = streamId >>> 24;
  dataHeader[6] = streamId >>> 16;
  dataHeader[7] = streamId >>> 8;
  dataHeader[8] = streamId;
  to.set(dataHeader, at);
}

/** The 31 bits at `at`; the reserved bit before them is ignored (RFC 9113, 4.1 and 6.9). */
export function readUInt31(from: Buffer, at: number): number {
  return from.readUInt32BE(at) & 0x7fff_ffff;
}

/** The payload of RST_STREAM and WINDOW_UPDATE. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}
