/** HTTP/2 sessions with damage: our side throws nothing, keeps nothing, and answers in frames that a client can read. */
import { strict as assert } from 'node:assert';
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { Http2Connection } from '../../src/http2/connection.js';
import { HpackDecoder } from '../../src/http2/hpack/decoder.js';
import { Slabs } from '../../src/http2/output.js';
import type { RequestHead } from '../../src/http2/request-head.js';
import type { Http2Stream } from '../../src/http2/stream.js';
import { Turns } from '../../src/http2/turns.js';
import { echo, options } from '../../test/http2/echo.js';
import { endHeaders, endStream, type Frame, framesOf, types } from '../../test/parts/http2-frames.js';
import { type SessionInput, sessionInputs } from './http2-sessions.ts';
import { type Target, target } from './targets.ts';

/** A socket in memory that takes everything at once. */
class Wire extends Duplex {
  readonly #written: Buffer[] = [];

  get written(): Buffer {
    return Buffer.concat(this.#written);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // The writer's buffer is its own again afterwards.
    this.#written.push(Buffer.from(chunk));
    done();
  }
}

/** Hands a piece to whoever reads the wire; what he throws is thrown. */
export type Deliver = (wire: Duplex, piece: Buffer) => void;

const deliverAll: Deliver = (wire, piece) => void wire.emit('data', piece);

/** What our side sends when the bytes come in those pieces, in one turn of the event loop. */
async function answerTo(pieces: readonly Buffer[], deliver: Deliver): Promise<Buffer> {
  const wire = new Wire();
  const open = new Map<number, Http2Stream>();
  const shared = { turns: new Turns(), slabs: new Slabs() };
  const ended = Promise.withResolvers<void>();
  const connection = new Http2Connection(
    wire,
    options,
    shared,
    (stream, head) => answer(stream, head, open),
    () => ended.resolve(),
  );
  for (const piece of pieces) deliver(wire, piece);
  await turn();
  await turn();
  assert.equal(connection.streams, open.size, 'a stream is open that was not handed over, or the reverse');
  connection.destroy();
  await ended.promise;
  assert.equal(connection.streams, 0, 'streams outlive their connection');
  assert.equal(open.size, 0, 'the end of a stream was not told');
  return wire.written;
}

/** Echoes, and sees that each stream ends once. */
function answer(stream: Http2Stream, _head: RequestHead, open: Map<number, Http2Stream>): void {
  assert.ok(!open.has(stream.id), 'a stream was handed over twice');
  open.set(stream.id, stream);
  echo(stream);
  const { listener } = stream;
  stream.listener = {
    data: (bytes, isEnd) => {
      assert.ok(open.has(stream.id), 'data after the end of its stream');
      listener?.data(bytes, isEnd);
    },
    closed: () => assert.ok(open.delete(stream.id), 'the end of a stream was told twice'),
  };
}

const initialWindow = 65_535;

/** Bytes that the client allows on the connection: no more than all of its grants together. */
function mostAllowed(frames: readonly Frame[]): number {
  let most = initialWindow;
  for (const { type, stream, payload } of frames) {
    if (type === types.window && (stream & 0x7fff_ffff) === 0 && payload.length === 4)
      most += payload.readUInt32BE() & 0x7fff_ffff;
  }
  return most;
}

const serverTypes = new Set<number>([
  types.data,
  types.headers,
  types.reset,
  types.settings,
  types.ping,
  types.goaway,
  types.window,
  types.continuation,
]);

/** What a client relies on, whatever it has sent. */
function assertReadable(output: Buffer, input: SessionInput): void {
  const frames = framesOf(output);
  const headBytes = 9;
  const bytes = frames.reduce((sum, { payload }) => sum + headBytes + payload.length, 0);
  assert.equal(bytes, output.length, 'the last frame is not whole');
  assert.equal(frames[0]?.type, types.settings, 'our SETTINGS do not come first');
  const decoder = new HpackDecoder({ maxTableBytes: 4096, maxHeaderListBytes: 1 << 20 });
  const begun = new Set<number>();
  const over = new Set<number>();
  let data = 0;
  for (const [index, { type, flags, stream, payload }] of frames.entries()) {
    assert.ok(serverTypes.has(type), `a server sends no frame of type ${type}`);
    if (type === types.goaway && payload.readUInt32BE(4) !== 0)
      assert.equal(index, frames.length - 1, 'frames follow the GOAWAY of an error');
    if (type === types.data || type === types.headers) {
      assert.ok(!over.has(stream), 'frames follow the end of a stream');
      if ((flags & endStream) !== 0) over.add(stream);
    }
    if (type === types.reset) over.add(stream);
    if (type === types.data) {
      assert.ok(begun.has(stream), 'DATA before HEADERS');
      data += payload.length;
    }
    if (type === types.headers) {
      assert.ok((flags & endHeaders) !== 0);
      const { fields } = decoder.decode(payload);
      assert.equal(fields[0] === ':status', !begun.has(stream), 'a status comes first, and once');
      begun.add(stream);
    }
  }
  assert.ok(data <= mostAllowed(input.frames), 'more was sent than the client allowed');
}

/** The bytes in pieces of those lengths, in turn. */
function inPieces({ bytes, pieceBytes }: SessionInput): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = pieceBytes[turn % pieceBytes.length] as number;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** However the bytes of a session fall into pieces, the answer is the same, and a client can read it. */
export function sessionTarget(deliver: Deliver = deliverAll): Target {
  return target('HTTP/2 session', 0.9, sessionInputs, async (input) => {
    const whole = await answerTo([input.bytes], deliver);
    assertReadable(whole, input);
    const cut = await answerTo(inPieces(input), deliver);
    assert.deepEqual(cut, whole, 'another answer when the bytes come in pieces');
  });
}
