/** What real clients send on an HTTP/2 connection, and the damage that is done to it. */
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import fc from 'fast-check';
import { Http2Connection } from '../../src/http2/connection.js';
import { Slabs } from '../../src/http2/output.js';
import { Turns } from '../../src/http2/turns.js';
import { echo, options } from '../../test/http2/echo.js';
import { type Frame, frame, framesOf, preface, u32 } from '../../test/parts/http2-frames.js';

/** A session of Node's own client; resolves with the frames that it sent. */
async function record(use: (session: ClientHttp2Session) => Promise<void>): Promise<Frame[]> {
  const sent: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('data', (bytes: Buffer) => sent.push(Buffer.from(bytes)));
    const shared = { turns: new Turns(), slabs: new Slabs() };
    new Http2Connection(socket, options, shared, echo, () => server.close());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const closed = once(server, 'close');
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await use(session);
  session.close();
  await closed;
  return framesOf(Buffer.concat(sent).subarray(preface.length));
}

async function ask(session: ClientHttp2Session, body: Buffer | undefined, headers = {}): Promise<void> {
  const stream = session.request(
    { ':method': body === undefined ? 'GET' : 'POST', ':path': '/echo', ...headers },
    { endStream: body === undefined, waitForTrailers: 'x-trailers' in headers },
  );
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': 'abc' }));
  stream.resume();
  if (body !== undefined) stream.end(body);
  await once(stream, 'close');
}

async function calls(session: ClientHttp2Session): Promise<void> {
  const grpc = { 'content-type': 'application/grpc', te: 'trailers' };
  await ask(session, undefined);
  await Promise.all([ask(session, Buffer.from('one'), grpc), ask(session, Buffer.from('two'), grpc)]);
  await ask(session, Buffer.from('three'), { ...grpc, 'x-trailers': 'yes' });
}

async function settings(session: ClientHttp2Session): Promise<void> {
  await ask(session, Buffer.alloc(3000, 'a'));
  session.settings({ initialWindowSize: 100, headerTableSize: 64, maxFrameSize: 20_000 });
  await ask(session, Buffer.from('after'), { authorization: 'Bearer x' });
  await new Promise((resolve) => session.ping(resolve));
}

async function resets(session: ClientHttp2Session): Promise<void> {
  for (let index = 0; index < 4; index++) {
    const stream = session.request({ ':method': 'POST', ':path': `/echo/${index}` });
    stream.on('error', () => {});
    stream.write('a part');
    stream.close(8);
    await once(stream, 'close');
  }
  await ask(session, Buffer.from('whole'), { 'content-length': '5' });
}

const sessions: readonly (readonly Frame[])[] = [
  await record(calls),
  await record(settings),
  await record(resets),
];

const streamIds = fc.constantFrom(0, 1, 2, 3, 5, 7, 99, 2 ** 31 - 1);

const strangers = fc.record({
  type: fc.nat(12),
  flags: fc.nat(255),
  stream: streamIds,
  payload: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
});

const windows = fc
  .record({ stream: streamIds, by: fc.constantFrom(0, 1, 65_535, 2 ** 31 - 1) })
  .map(({ stream, by }): Frame => ({ type: 8, flags: 0, stream, payload: u32(by) }));

const byteEdits = fc.record({ at: fc.nat(), by: fc.nat(255) });

const edits = fc.oneof(
  fc.record({ kind: fc.constant('drop' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(), times: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ kind: fc.constant('swap' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), frame: fc.oneof(strangers, windows) }),
  fc.record({ kind: fc.constant('flags' as const), at: fc.nat(), flags: fc.nat(255) }),
  fc.record({ kind: fc.constant('stream' as const), at: fc.nat(), stream: streamIds }),
  fc.record({ kind: fc.constant('payload' as const), at: fc.nat(), edit: byteEdits }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), to: fc.nat(20) }),
);
type Edit = typeof edits extends fc.Arbitrary<infer T> ? T : never;

function edited(frames: readonly Frame[], edit: Edit): Frame[] {
  const place = edit.at % (frames.length + 1);
  const [before, after] = [frames.slice(0, place), frames.slice(place)];
  const [one, ...rest] = after;
  if (edit.kind === 'insert') return [...before, edit.frame, ...after];
  if (one === undefined) return [...frames];
  switch (edit.kind) {
    case 'drop':
      return [...before, ...rest];
    case 'repeat':
      return [...before, ...Array.from({ length: edit.times }, () => one), ...rest];
    case 'swap':
      return [...before, ...rest.slice(0, 1), one, ...rest.slice(1)];
    case 'flags':
      return [...before, { ...one, flags: edit.flags }, ...rest];
    case 'stream':
      return [...before, { ...one, stream: edit.stream }, ...rest];
    case 'payload':
      return [...before, { ...one, payload: withByte(one.payload, edit.edit) }, ...rest];
    case 'cut':
      return [...before, { ...one, payload: one.payload.subarray(0, edit.to) }, ...rest];
  }
}

function withByte(payload: Buffer, { at, by }: { at: number; by: number }): Buffer {
  const changed = Buffer.from(payload);
  if (changed.length > 0) changed[at % changed.length] = by;
  return changed;
}

/** The bytes of a session after its preface, and into which pieces they fall. */
export interface SessionInput {
  readonly frames: readonly Frame[];
  readonly bytes: Buffer;
  readonly pieceBytes: readonly number[];
}

/** Real sessions with damage to their frames, and now and then to their lengths. */
export const sessionInputs: fc.Arbitrary<SessionInput> = fc
  .record({
    frames: fc.constantFrom(...sessions),
    edits: fc.array(edits, { maxLength: 6 }),
    byte: fc.option(byteEdits, { freq: 8 }),
    pieceBytes: fc.oneof(fc.constant([1]), fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 })),
  })
  .map(({ frames, edits, byte, pieceBytes }) => {
    const changed = edits.reduce<readonly Frame[]>(edited, frames);
    const whole = Buffer.concat(changed.map((one) => frame(one.type, one.flags, one.stream, one.payload)));
    const bytes = byte === null ? whole : withByte(whole, byte);
    return { frames: framesOf(bytes), bytes: Buffer.concat([preface, bytes]), pieceBytes };
  });
