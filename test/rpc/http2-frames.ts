/** HTTP/2 by hand, frame by frame, for a client that no library lets one be. */
import type { Socket } from 'node:net';

const dataType = 0;
const headersType = 1;
const resetType = 3;
const settingsType = 4;
const windowUpdateType = 8;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Opens a connection with windows as wide as they get, and sends a Fetch on it. */
export function fetchFrames(authority: string, stream: number, message: Uint8Array): Buffer {
  const window = Buffer.alloc(6);
  window.writeUInt16BE(4, 0);
  window.writeUInt32BE(2 ** 31 - 1, 2);
  const update = Buffer.alloc(4);
  update.writeUInt32BE(2 ** 31 - 1 - 65_535);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const fields = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': '/layercache.v1.LayerCacheService/Fetch',
    ':authority': authority,
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  return Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(settingsType, 0, 0, window),
    frame(windowUpdateType, 0, 0, update),
    // END_HEADERS, then END_STREAM.
    frame(headersType, 4, stream, Buffer.concat(Object.entries(fields).map(literal))),
    frame(dataType, 1, stream, Buffer.concat([prefix, message])),
  ]);
}

/** Resets a stream with CANCEL. */
export function resetFrame(stream: number): Buffer {
  return frame(resetType, 0, stream, Buffer.from([0, 0, 0, 8]));
}

/** The DATA payloads of a stream, as they lie between the frames' heads, once the socket has ended. */
export async function dataFrom(socket: Socket, stream: number): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece);
  const all = Buffer.concat(pieces);
  const data: Buffer[] = [];
  for (let at = 0; at + 9 <= all.length; ) {
    const end = at + 9 + all.readUIntBE(at, 3);
    if (all[at + 3] === dataType && all.readUInt32BE(at + 5) === stream) data.push(all.subarray(at + 9, end));
    at = end;
  }
  return data;
}

/** A header field as HPACK has it, neither indexed nor compressed. */
function literal([name, value]: [string, string]): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}
