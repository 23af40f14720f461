/** RFC 9113 rule by rule, the section in each name, spoken by a client of raw frames. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it, onTestFinished } from 'vitest';
import { errorCodes } from '../../src/http2/error-codes.js';
import { HpackDecoder } from '../../src/http2/hpack/decoder.js';
import { HpackEncoder } from '../../src/http2/hpack/encoder.js';
import {
  endHeaders,
  endStream,
  frame,
  preface,
  resetFrame,
  settingsFrame,
  types,
  u32,
  windowFrame,
} from '../parts/http2-frames.js';
import { RawConnection } from '../parts/raw-connection.js';
import { options } from './echo.js';
import { type EchoServer, speak, startEcho } from './echo-server.js';

const padded = 0x8;
const withPriority = 0x20;
const ack = 0x1;
const none = Buffer.alloc(0);

const plain = [':method', 'POST', ':scheme', 'http', ':path', '/', ':authority', 'a.test'];

/** The block of a request with these fields, in HPACK of its own: it leaves no state behind. */
function block(fields: readonly string[]): Buffer {
  const encoder = new HpackEncoder();
  encoder.setMaxTableBytes(0);
  // Without the size update, which only the encoder of this one block has made.
  return encoder.encode(fields).subarray(1);
}

function headers(stream: number, flags: number, fields: readonly string[] = plain): Buffer {
  return frame(types.headers, endHeaders | flags, stream, block(fields));
}

function data(stream: number, flags: number, bytes: Uint8Array = none): Buffer {
  return frame(types.data, flags, stream, bytes);
}

function settings(identifier: number, value: number): Buffer {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(identifier, 0);
  payload.writeUInt32BE(value, 2);
  return frame(types.settings, 0, 0, payload);
}

const whole = (stream: number) => headers(stream, endStream);
const c = errorCodes;

/** Resolves with the code of the GOAWAY, once the connection has closed. */
async function endOf(connection: RawConnection): Promise<number | undefined> {
  await connection.closed;
  return connection.goaway;
}

/** The code of the first reset of that stream. */
async function resetOf(connection: RawConnection, stream: number): Promise<number | undefined> {
  const isReset = ({ type, stream: id }: { type: number; stream: number }) =>
    type === types.reset && id === stream;
  await connection.until((frames) => frames.some(isReset));
  return connection.frames.find(isReset)?.payload.readUInt32BE(0);
}

/** Resolves once a PING, sent now, is answered: whatever came before has been dealt with. */
async function expectAlive(connection: RawConnection): Promise<void> {
  await connection.write(frame(types.ping, 0, 0, Buffer.from('12345678')));
  await connection.until((frames) => frames.some(({ type, flags }) => type === types.ping && flags === ack));
  expect(connection.goaway).toBeUndefined();
}

/** Resolves once the stream was answered to its end. */
async function answered(connection: RawConnection, stream: number): Promise<void> {
  await connection.until((frames) =>
    frames.some(
      ({ stream: id, type, flags }) =>
        id === stream && (type === types.headers || type === types.data) && (flags & endStream) !== 0,
    ),
  );
}

const onConnection: readonly [string, number, ...Uint8Array[]][] = [
  [
    '4.1 a frame beyond SETTINGS_MAX_FRAME_SIZE',
    c.frameSizeError,
    headers(1, 0),
    data(1, 0, Buffer.alloc(16_385)),
  ],
  [
    '4.2 HEADERS that are too large',
    c.frameSizeError,
    frame(types.headers, endHeaders, 1, Buffer.alloc(16_385)),
  ],
  [
    '4.3 a header block that does not decode',
    c.compressionError,
    frame(types.headers, endHeaders | endStream, 1, Buffer.from([0x80])),
  ],
  [
    '4.3 a PRIORITY frame inside a header block',
    c.protocolError,
    frame(types.headers, 0, 1, block(plain)),
    frame(types.priority, 0, 1, Buffer.alloc(5)),
  ],
  [
    '4.3 another stream’s HEADERS inside a header block',
    c.protocolError,
    frame(types.headers, 0, 1, block(plain)),
    whole(3),
  ],
  ['5.1 idle: DATA', c.protocolError, data(1, endStream)],
  ['5.1 idle: RST_STREAM', c.protocolError, frame(types.reset, 0, 1, u32(8))],
  ['5.1 idle: WINDOW_UPDATE', c.protocolError, windowFrame(1, 100)],
  ['5.1 idle: CONTINUATION', c.protocolError, frame(types.continuation, endHeaders, 1, block(plain))],
  ['5.1.1 an even stream id', c.protocolError, whole(2)],
  ['5.1.1 a stream id smaller than one before', c.protocolError, whole(5), whole(3)],
  [
    '5.5 an unknown frame inside a header block',
    c.protocolError,
    frame(types.headers, 0, 1, block(plain)),
    frame(0xff, 0, 0, none),
  ],
  ['6.1 DATA on stream 0', c.protocolError, data(0, 0, Buffer.from('x'))],
  [
    '6.1 padding as long as the payload',
    c.protocolError,
    headers(1, 0),
    data(1, padded, Buffer.from([4, 1, 2, 3])),
  ],
  ['6.1 a padded frame without its length', c.frameSizeError, headers(1, 0), data(1, padded)],
  ['6.2 HEADERS on stream 0', c.protocolError, whole(0)],
  [
    '6.2 HEADERS with padding longer than the frame',
    c.protocolError,
    frame(types.headers, endHeaders | padded, 1, Buffer.concat([Buffer.from([200]), block(plain)])),
  ],
  [
    '6.2 HEADERS too short for their priority',
    c.frameSizeError,
    frame(types.headers, endHeaders | withPriority, 1, Buffer.alloc(3)),
  ],
  [
    '6.3 PRIORITY of another size on an idle stream, which cannot be reset',
    c.frameSizeError,
    frame(types.priority, 0, 1, Buffer.alloc(4)),
  ],
  [
    '6.3 an idle stream that depends on itself',
    c.protocolError,
    frame(types.priority, 0, 1, Buffer.from([0, 0, 0, 1, 0])),
  ],
  ['6.3 PRIORITY on stream 0', c.protocolError, frame(types.priority, 0, 0, Buffer.alloc(5))],
  ['6.4 RST_STREAM on stream 0', c.protocolError, frame(types.reset, 0, 0, u32(8))],
  [
    '6.4 RST_STREAM of another size',
    c.frameSizeError,
    headers(1, 0),
    frame(types.reset, 0, 1, Buffer.alloc(3)),
  ],
  [
    '6.5 an acknowledgement of SETTINGS with a payload',
    c.frameSizeError,
    frame(types.settings, ack, 0, Buffer.alloc(6)),
  ],
  ['6.5 SETTINGS on a stream', c.protocolError, frame(types.settings, 0, 1, none)],
  ['6.5 SETTINGS of another size', c.frameSizeError, frame(types.settings, 0, 0, Buffer.alloc(3))],
  ['6.5.2 ENABLE_PUSH of 2', c.protocolError, settings(2, 2)],
  ['6.5.2 INITIAL_WINDOW_SIZE above 2^31-1', c.flowControlError, settings(4, 2 ** 31)],
  ['6.5.2 MAX_FRAME_SIZE below 16,384', c.protocolError, settings(5, 16_383)],
  ['6.5.2 MAX_FRAME_SIZE above 2^24-1', c.protocolError, settings(5, 2 ** 24)],
  [
    '6.6 PUSH_PROMISE of a client',
    c.protocolError,
    headers(1, 0),
    frame(5, endHeaders, 1, Buffer.concat([u32(2), block(plain)])),
  ],
  ['6.7 PING on a stream', c.protocolError, frame(types.ping, 0, 1, Buffer.alloc(8))],
  ['6.7 PING of another size', c.frameSizeError, frame(types.ping, 0, 0, Buffer.alloc(6))],
  ['6.8 GOAWAY on a stream', c.protocolError, frame(types.goaway, 0, 1, Buffer.alloc(8))],
  ['6.9 WINDOW_UPDATE of 0 on the connection', c.protocolError, windowFrame(0, 0)],
  ['6.9 WINDOW_UPDATE of another size', c.frameSizeError, frame(types.window, 0, 0, Buffer.alloc(3))],
  [
    '6.9.1 a connection’s window above 2^31-1',
    c.flowControlError,
    windowFrame(0, 2 ** 31 - 1),
    windowFrame(0, 2 ** 31 - 1),
  ],
  [
    '6.9.2 a stream’s window above 2^31-1 by SETTINGS',
    c.flowControlError,
    settings(4, 0),
    headers(1, 0),
    windowFrame(1, 2 ** 31 - 1),
    settings(4, 1),
  ],
  ['6.10 CONTINUATION without HEADERS', c.protocolError, frame(types.continuation, endHeaders, 1, none)],
  [
    '6.10 CONTINUATION after END_HEADERS',
    c.protocolError,
    headers(1, 0),
    frame(types.continuation, endHeaders, 1, none),
  ],
  [
    '6.10 CONTINUATION on stream 0',
    c.protocolError,
    frame(types.headers, 0, 1, block(plain)),
    frame(types.continuation, endHeaders, 0, none),
  ],
  [
    '6.10 DATA between HEADERS and CONTINUATION',
    c.protocolError,
    frame(types.headers, 0, 1, block(plain)),
    data(1, 0),
  ],
];

describe('an error of the connection (5.4.1): GOAWAY with its code, then the end', () => {
  it.each(onConnection)('%s', async (_rule, code, ...frames) => {
    const connection = await speak(await startEcho(), ...frames);
    expect(await endOf(connection)).toBe(code);
  });

  it.each([
    ['3.4 another preface', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
    ['3.4 a preface that is cut and goes on otherwise', Buffer.from('PRI * HTTP/2.0\r\n\r\nXX')],
    [
      '3.4 a first frame that is not SETTINGS',
      Buffer.concat([preface, frame(types.ping, 0, 0, Buffer.alloc(8))]),
    ],
    [
      '3.4 a first frame that acknowledges SETTINGS',
      Buffer.concat([preface, frame(types.settings, ack, 0, none)]),
    ],
  ])('%s', async (_rule, bytes) => {
    const { address } = await startEcho();
    const connection = await RawConnection.open(address);
    onTestFinished(() => connection.destroy());
    await connection.write(bytes);
    expect(await endOf(connection)).toBe(c.protocolError);
  });

  it('5.1 closed: HEADERS on a stream that has ended', async () => {
    const connection = await speak(await startEcho(), whole(1));
    await answered(connection, 1);
    await connection.write(whole(1));
    expect(await endOf(connection)).toBe(c.streamClosed);
  });

  it('6.9.1 DATA beyond the connection’s window', async () => {
    const silent = await startEcho({ initialWindow: 1 << 20, connectionWindow: 65_535 }, () => {});
    const piece = data(1, 0, Buffer.alloc(16_384));
    // The window is granted again as soon as half of it has come, but never beyond what it was.
    const connection = await speak(silent, headers(1, 0), ...Array.from({ length: 8 }, () => piece));
    await expectAlive(connection);
  });

  it('10.5.1 a header block that does not end', async () => {
    const part = frame(types.continuation, 0, 1, Buffer.alloc(1000));
    const connection = await speak(
      await startEcho(),
      frame(types.headers, 0, 1, block(plain)),
      ...Array.from({ length: 200 }, () => part),
    );
    expect(await endOf(connection)).toBe(c.enhanceYourCalm);
  });
});

const onStream: readonly [string, number, ...Uint8Array[]][] = [
  [
    '5.1 half-closed (remote): DATA',
    c.streamClosed,
    headers(1, endStream),
    data(1, endStream, Buffer.from('x')),
  ],
  ['5.1 half-closed (remote): HEADERS', c.streamClosed, headers(1, endStream), headers(1, endStream)],
  [
    '5.1 closed by the client’s reset: DATA',
    c.streamClosed,
    headers(1, 0),
    frame(types.reset, 0, 1, u32(8)),
    data(1, 0, Buffer.from('x')),
  ],
  [
    '6.3 PRIORITY of another size',
    c.frameSizeError,
    headers(1, 0),
    frame(types.priority, 0, 1, Buffer.alloc(4)),
  ],
  ['6.9 WINDOW_UPDATE of 0', c.protocolError, headers(1, 0), windowFrame(1, 0)],
  [
    '6.9.1 a window above 2^31-1',
    c.flowControlError,
    headers(1, 0),
    windowFrame(1, 2 ** 31 - 1),
    windowFrame(1, 2 ** 31 - 1),
  ],
  [
    '6.9.1 DATA beyond the window',
    c.flowControlError,
    headers(1, 0),
    ...Array.from({ length: 5 }, () => data(1, 0, Buffer.alloc(16_384))),
  ],
  ['8.1 a second HEADERS without END_STREAM', c.protocolError, headers(1, 0), headers(1, 0, ['x', 'y'])],
  [
    '8.1 a pseudo-field among trailers',
    c.protocolError,
    headers(1, 0),
    headers(1, endStream, [':method', 'GET']),
  ],
  [
    '8.1.1 a body longer than content-length',
    c.protocolError,
    headers(1, 0, [...plain, 'content-length', '1']),
    data(1, endStream, Buffer.from('12')),
  ],
  [
    '8.1.1 a body shorter than content-length',
    c.protocolError,
    headers(1, 0, [...plain, 'content-length', '3']),
    data(1, 0, Buffer.from('1')),
    data(1, endStream, Buffer.from('2')),
  ],
  [
    '8.1.1 no body where content-length says one',
    c.protocolError,
    headers(1, endStream, [...plain, 'content-length', '3']),
  ],
  [
    '8.1.1 two content-lengths',
    c.protocolError,
    headers(1, endStream, [...plain, 'content-length', '0', 'content-length', '1']),
  ],
  [
    '8.1.1 a content-length that is no number',
    c.protocolError,
    headers(1, endStream, [...plain, 'content-length', '-1']),
  ],
  ['8.2.1 an upper-case name', c.protocolError, headers(1, endStream, [...plain, 'X-Upper', 'y'])],
  ['8.2.1 a name with a space', c.protocolError, headers(1, endStream, [...plain, 'x y', 'z'])],
  ['8.2.1 an empty name', c.protocolError, headers(1, endStream, [...plain, '', 'z'])],
  ['8.2.1 a line break in a value', c.protocolError, headers(1, endStream, [...plain, 'x', 'a\r\nb'])],
  ['8.2.1 a space at the end of a value', c.protocolError, headers(1, endStream, [...plain, 'x', 'a '])],
  ['8.2.1 a tab before a value', c.protocolError, headers(1, endStream, [...plain, 'x', '\ta'])],
  [
    '8.3.1 a :path that does not begin with a slash',
    c.protocolError,
    headers(1, endStream, [':method', 'GET', ':scheme', 'http', ':path', 'a']),
  ],
  [
    '8.3.1 a :path with a space',
    c.protocolError,
    headers(1, endStream, [':method', 'GET', ':scheme', 'http', ':path', '/a b']),
  ],
  ['8.2.1 a NUL in a value', c.protocolError, headers(1, endStream, [...plain, 'x', 'a\0b'])],
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'].map(
    (name): [string, number, Buffer] => [
      `8.2.2 ${name}`,
      c.protocolError,
      headers(1, endStream, [...plain, name, 'x']),
    ],
  ),
  ['8.2.2 te with anything but trailers', c.protocolError, headers(1, endStream, [...plain, 'te', 'gzip'])],
  ['8.3 an unknown pseudo-field', c.protocolError, headers(1, endStream, [...plain, ':unknown', 'x'])],
  ['8.3 a pseudo-field of answers', c.protocolError, headers(1, endStream, [...plain, ':status', '200'])],
  [
    '8.3 a pseudo-field after a regular one',
    c.protocolError,
    headers(1, endStream, [':method', 'GET', ':scheme', 'http', 'x', 'y', ':path', '/']),
  ],
  [
    '8.3.1 an empty :path',
    c.protocolError,
    headers(1, endStream, [':method', 'GET', ':scheme', 'http', ':path', '']),
  ],
  ['8.3.1 no :method', c.protocolError, headers(1, endStream, [':scheme', 'http', ':path', '/'])],
  ['8.3.1 no :scheme', c.protocolError, headers(1, endStream, [':method', 'GET', ':path', '/'])],
  ['8.3.1 no :path', c.protocolError, headers(1, endStream, [':method', 'GET', ':scheme', 'http'])],
  ['8.3.1 two :method', c.protocolError, headers(1, endStream, [...plain, ':method', 'GET'])],
  ['8.3.1 two :path', c.protocolError, headers(1, endStream, [...plain, ':path', '/'])],
  [
    '8.5 CONNECT with a :path',
    c.protocolError,
    headers(1, endStream, [':method', 'CONNECT', ':authority', 'a', ':path', '/']),
  ],
];

describe('an error of one stream (5.4.2): RST_STREAM with its code, and the connection goes on', () => {
  it.each(onStream)('%s', async (_rule, code, ...frames) => {
    const server = await startEcho({}, holding);
    const connection = await speak(server, ...frames);
    expect(await resetOf(connection, 1)).toBe(code);
    await expectAlive(connection);
    const next = frames.length * 2 + 21;
    await connection.write(
      Buffer.concat([headers(next, endStream, [...plain.slice(0, 4), ':path', '/now'])]),
    );
    await answered(connection, next);
  });

  /** Answers nothing but `/now`, so that streams stay as the client left them. */
  function holding(
    stream: Parameters<NonNullable<Parameters<typeof startEcho>[1]>>[0],
    head: { path: string },
  ): void {
    stream.listener = { data: () => {}, closed: () => {} };
    if (head.path === '/now') stream.respond([':status', '200'], true);
  }

  it('5.1.2 a stream beyond SETTINGS_MAX_CONCURRENT_STREAMS', async () => {
    const connection = await speak(
      await startEcho({ maxConcurrentStreams: 2 }),
      headers(1, 0),
      headers(3, 0),
      headers(5, 0),
    );
    expect(await resetOf(connection, 5)).toBe(c.refusedStream);
    await connection.write(data(1, endStream));
    await answered(connection, 1);
  });

  it('5.1 closed by us: what the client sent before it knew is ignored', async () => {
    const resetting = await startEcho({}, (stream) => stream.reset(c.cancel));
    const connection = await speak(
      resetting,
      headers(1, 0),
      data(1, 0, Buffer.from('x')),
      headers(1, endStream, ['x', 'y']),
      windowFrame(1, 5),
      frame(types.reset, 0, 1, u32(8)),
    );
    expect(await resetOf(connection, 1)).toBe(c.cancel);
    await expectAlive(connection);
    expect(connection.frames.filter(({ type }) => type === types.reset)).toHaveLength(1);
  });
});

describe('what has to be taken', () => {
  const taken: readonly [string, ...Uint8Array[]][] = [
    ['4.1 flags that a frame does not know', frame(types.ping, 0x16, 0, Buffer.alloc(8))],
    [
      '4.1 the reserved bit of a stream id',
      Buffer.concat([whole(1).subarray(0, 5), Buffer.from([0x80, 0, 0, 1]), whole(1).subarray(9)]),
    ],
    ['4.2 a frame of the largest size', headers(1, 0), data(1, endStream, Buffer.alloc(16_384))],
    [
      '5.1 half-closed (remote): WINDOW_UPDATE, PRIORITY, RST_STREAM',
      whole(1),
      windowFrame(1, 5),
      frame(types.priority, 0, 1, Buffer.alloc(5)),
      frame(types.reset, 0, 1, u32(8)),
    ],
    ['5.1 idle: PRIORITY', frame(types.priority, 0, 9, Buffer.alloc(5)), whole(1)],
    [
      '5.5 frames of unknown types',
      frame(0x40, 0xff, 0, Buffer.alloc(3)),
      frame(0x41, 0, 77, none),
      whole(1),
    ],
    ['6.1 DATA with padding', headers(1, 0), data(1, padded | endStream, Buffer.from([2, 0x61, 0, 0]))],
    [
      '6.2 HEADERS with padding and priority',
      frame(
        types.headers,
        endHeaders | endStream | padded | withPriority,
        1,
        Buffer.concat([Buffer.from([3]), Buffer.alloc(5), block(plain), Buffer.alloc(3)]),
      ),
    ],
    ['6.5 unknown settings', settings(0xf00, 7), whole(1)],
    [
      '6.5.3 SETTINGS of many values',
      Buffer.concat([settings(1, 0), settings(4, 100), settings(5, 20_000)]),
      whole(1),
    ],
    ['6.8 GOAWAY of a client', frame(types.goaway, 0, 0, Buffer.alloc(8)), whole(1)],
    ['6.10 a header block in many frames', ...pieces(block(plain))],
    ['8.1 trailers', headers(1, 0), data(1, 0, Buffer.from('x')), headers(1, endStream, ['x-trailer', 'y'])],
    [
      '8.1.1 the body that content-length says',
      headers(1, 0, [...plain, 'content-length', '3']),
      data(1, 0, Buffer.from('12')),
      data(1, endStream, Buffer.from('3')),
    ],
    ['8.2.2 te: trailers', headers(1, endStream, [...plain, 'te', 'trailers'])],
    ['8.2.1 spaces inside a value', headers(1, endStream, [...plain, 'x', 'a b c'])],
    [
      '8.3.1 OPTIONS of the whole server',
      headers(1, endStream, [':method', 'OPTIONS', ':scheme', 'http', ':path', '*']),
    ],
    ['8.3.1 no :authority', headers(1, endStream, plain.slice(0, 6))],
  ];

  function pieces(bytes: Buffer): Buffer[] {
    const parts = [...bytes].map((byte, index) =>
      frame(
        index === 0 ? types.headers : types.continuation,
        index === bytes.length - 1 ? endHeaders : 0,
        1,
        Buffer.from([byte]),
      ),
    );
    return [...parts, data(1, endStream)];
  }

  it.each(taken)('%s', async (_rule, ...frames) => {
    const connection = await speak(await startEcho(), ...frames);
    await expectAlive(connection);
  });

  it.each(taken)('%s, byte by byte', async (_rule, ...frames) => {
    const connection = await speak(await startEcho());
    for (const byte of Buffer.concat(frames).subarray(0, 400)) await connection.write(Buffer.from([byte]));
    await connection.write(Buffer.concat(frames).subarray(400));
    await expectAlive(connection);
  });
});

describe('answers', () => {
  it('6.5.3 SETTINGS are acknowledged, and ours are sent first', async () => {
    const connection = await speak(await startEcho(), settings(3, 5));
    await connection.until(
      (frames) => frames.filter(({ type, flags }) => type === types.settings && flags === ack).length === 2,
    );
    expect(connection.frames[0]).toMatchObject({ type: types.settings, flags: 0, stream: 0 });
  });

  it('6.7 a PING is answered with its own payload', async () => {
    const connection = await speak(await startEcho(), frame(types.ping, 0, 0, Buffer.from('payload!')));
    await connection.until((frames) => frames.some(({ type }) => type === types.ping));
    expect(connection.frames.find(({ type }) => type === types.ping)).toMatchObject({
      flags: ack,
      payload: Buffer.from('payload!'),
    });
  });

  it('8.1 headers, body and trailers, which HPACK makes shorter each time', async () => {
    const connection = await speak(await startEcho());
    const decoder = new HpackDecoder({ maxTableBytes: 4096, maxHeaderListBytes: 1 << 16 });
    const sizes: number[] = [];
    for (const stream of [1, 3, 5]) {
      await connection.write(
        Buffer.concat([headers(stream, 0), data(stream, endStream, Buffer.from(`body ${stream}`))]),
      );
      await answered(connection, stream);
      const own = connection.frames.filter(({ stream: id, type }) => id === stream && type !== types.window);
      expect(own.map(({ type }) => type)).toEqual([types.headers, types.data, types.headers]);
      expect(String(own[1]?.payload)).toBe(`body ${stream}`);
      expect(decoder.decode(own[0]?.payload ?? none).fields).toEqual([
        ':status',
        '200',
        'content-type',
        'text/plain',
      ]);
      expect(decoder.decode(own[2]?.payload ?? none).fields).toEqual(['x-trailer', 'yes']);
      sizes.push((own[0]?.payload.length ?? 0) + (own[2]?.payload.length ?? 0));
    }
    expect(sizes[1]).toBe(3);
    expect(sizes[1]).toBeLessThan(sizes[0] ?? 0);
  });

  it('10.5.1 a header list that is too long is answered with 431, and the connection goes on', async () => {
    const long = [
      ...plain,
      ...Array.from({ length: 200 }, (_, index) => [`x-${index}`, 'y'.repeat(60)]).flat(),
    ];
    const bytes = block(long);
    const connection = await speak(
      await startEcho(),
      frame(types.headers, endStream, 1, bytes.subarray(0, 8000)),
      frame(types.continuation, endHeaders, 1, bytes.subarray(8000)),
      whole(3),
    );
    await answered(connection, 1);
    await answered(connection, 3);
    const decoder = new HpackDecoder({ maxTableBytes: 4096, maxHeaderListBytes: 1 << 16 });
    const [first] = connection.frames.filter(({ type }) => type === types.headers);
    expect(decoder.decode(first?.payload ?? none).fields).toEqual([':status', '431']);
  });

  it('8.1 an answer before the request has ended asks the client to stop: RST_STREAM with NO_ERROR', async () => {
    const early = await startEcho({}, (stream) => stream.respond([':status', '204'], true));
    const connection = await speak(early, headers(1, 0));
    expect(await resetOf(connection, 1)).toBe(c.noError);
    await connection.write(data(1, endStream, Buffer.from('late')));
    await expectAlive(connection);
  });
});

describe('5.2 flow control', () => {
  const body = Buffer.alloc(200_000, 'b');
  const sending: Parameters<typeof startEcho>[1] = (stream) => {
    stream.listener = { data: () => {}, closed: () => {} };
    stream.respond([':status', '200']);
    stream.write(body);
    stream.end([]);
  };
  const received = (connection: RawConnection, stream: number) =>
    connection.frames
      .filter((one) => one.stream === stream && one.type === types.data)
      .reduce((sum, { payload }) => sum + payload.length, 0);

  it('6.9.1 no more is sent than the windows of stream and connection allow', async () => {
    const connection = await speak(
      await startEcho({}, sending),
      settingsFrame({ initialWindow: 100_000 }),
      whole(1),
    );
    await connection.until(() => received(connection, 1) === 65_535);
    await expectAlive(connection);
    expect(received(connection, 1)).toBe(65_535);
    await connection.write(windowFrame(0, 1_000_000));
    await connection.until(() => received(connection, 1) === 100_000);
    await connection.write(windowFrame(1, 100_000));
    await answered(connection, 1);
    expect(received(connection, 1)).toBe(body.length);
  });

  it('6.9.2 a smaller initial window makes a window negative, which then has to be made good', async () => {
    const connection = await speak(await startEcho({}, sending), windowFrame(0, 1_000_000), whole(1));
    await connection.until(() => received(connection, 1) === 65_535);
    await connection.write(settingsFrame({ initialWindow: 10 }));
    await connection.write(windowFrame(1, 65_525));
    await expectAlive(connection);
    expect(received(connection, 1)).toBe(65_535);
    await connection.write(windowFrame(1, 5));
    await connection.until(() => received(connection, 1) === 65_540);
    await connection.write(settingsFrame({ initialWindow: 1_000_000 }));
    await answered(connection, 1);
  });

  it('streams that are reset while they wait for the connection’s window are not kept', async () => {
    const opened: WeakRef<object>[] = [];
    let closed = 0;
    const server = await startEcho({ resetBurst: 10_000 }, (stream) => {
      opened.push(new WeakRef(stream));
      stream.listener = { data: () => {}, closed: () => void closed++ };
      stream.respond([':status', '200']);
      stream.write(body);
    });
    const connection = await speak(server, whole(1));
    await connection.until(() => received(connection, 1) === 65_535);
    for (let round = 0; round < 10; round++) {
      const ids = Array.from({ length: 90 }, (_, index) => 3 + 2 * (90 * round + index));
      await connection.write(Buffer.concat(ids.map(whole)));
      await expect.poll(() => opened.length).toBe(1 + 90 * (round + 1));
      await connection.write(Buffer.concat(ids.map(resetFrame)));
      await expect.poll(() => closed).toBe(90 * (round + 1));
    }
    setFlagsFromString('--expose-gc');
    runInNewContext('gc')();
    expect(opened.filter((stream) => stream.deref() !== undefined).length).toBeLessThan(200);
  });

  it('a stream without a window delays no other', async () => {
    const connection = await speak(
      await startEcho({}, sending),
      windowFrame(0, 10_000_000),
      whole(1),
      whole(3),
    );
    await connection.until(() => received(connection, 1) === 65_535 && received(connection, 3) === 65_535);
    await connection.write(windowFrame(3, 1_000_000));
    await answered(connection, 3);
    expect(received(connection, 1)).toBe(65_535);
  });

  it('streams take turns', async () => {
    const connection = await speak(
      await startEcho({}, sending),
      settingsFrame({ initialWindow: 1_000_000 }),
      windowFrame(0, 10_000_000),
      whole(1),
      whole(3),
    );
    await Promise.all([answered(connection, 1), answered(connection, 3)]);
    const order = connection.frames.filter(({ type }) => type === types.data).map(({ stream }) => stream);
    // Neither has all of its frames before the other's first.
    expect(order.indexOf(3)).toBeLessThan(order.lastIndexOf(1));
    expect(order.indexOf(1)).toBeLessThan(order.lastIndexOf(3));
  });

  it('4.2 frames are as large as the client allows', async () => {
    const connection = await speak(
      await startEcho({}, sending),
      settings(5, 40_000),
      settingsFrame({ initialWindow: 1_000_000 }),
      windowFrame(0, 10_000_000),
      whole(1),
    );
    await answered(connection, 1);
    const sizes = connection.frames
      .filter(({ type }) => type === types.data)
      .map(({ payload }) => payload.length);
    expect(Math.max(...sizes)).toBe(40_000);
  });

  it.each([
    ['a window that takes all of it', 1_000_000],
    ['windows that cut its frames', 10_000],
    ['a window of one byte', 1],
  ])('a body with room for its frames is the same body: %s', async (_what, window) => {
    const first = 16_000;
    const each = 16_384;
    const payload = Buffer.from(Array.from({ length: 50_000 }, (_, index) => index % 251));
    const laid: Buffer[] = [];
    for (let at = 0, size = first; at < payload.length; at += size, size = at === 0 ? first : each) {
      if (at > 0) size = each;
      laid.push(Buffer.alloc(9, 0xee), payload.subarray(at, at + size));
    }
    let taken = 0;
    const gapped: Parameters<typeof startEcho>[1] = (stream) => {
      stream.listener = { data: () => {}, closed: () => {} };
      stream.respond([':status', '200']);
      stream.write(Buffer.concat(laid), () => taken++, { first, each });
      stream.end([]);
    };
    const connection = await speak(
      await startEcho({}, gapped),
      settingsFrame({ initialWindow: window }),
      whole(1),
    );
    while (received(connection, 1) < Math.min(payload.length, window === 1 ? 40 : payload.length)) {
      const before = received(connection, 1);
      await connection.until(() => received(connection, 1) > before || before === payload.length);
      const now = received(connection, 1);
      if (now < payload.length)
        await connection.write(Buffer.concat([windowFrame(1, window), windowFrame(0, window)]));
    }
    await connection.write(Buffer.concat([windowFrame(1, 100_000), windowFrame(0, 100_000)]));
    await answered(connection, 1);
    const bytes = connection.frames.filter(({ type, stream }) => type === types.data && stream === 1);
    expect(Buffer.concat(bytes.map(({ payload: part }) => part))).toEqual(payload);
    expect(taken).toBe(1);
  });

  it('6.9 the client’s windows are opened again as its bytes are used', async () => {
    const server = await startEcho();
    const connection = await speak(
      server,
      windowFrame(0, 1_000_000),
      settingsFrame({ initialWindow: 1_000_000 }),
      headers(1, 0),
    );
    let sent = 0;
    const granted = (stream: number) =>
      connection.frames
        .filter((one) => one.type === types.window && one.stream === stream)
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
    while (sent < 300_000) {
      const size = 10_000;
      await connection.until(() => sent + size <= options.initialWindow + granted(1));
      await connection.write(data(1, 0, Buffer.alloc(size, 'x')));
      sent += size;
    }
    await connection.write(data(1, endStream));
    await answered(connection, 1);
    expect(received(connection, 1)).toBe(sent);
  });
});

describe('6.8 a graceful end', () => {
  const goaways = (connection: RawConnection) =>
    connection.frames.filter(({ type }) => type === types.goaway);
  const lastId = (payload: Buffer | undefined) => payload?.readUInt32BE(0);
  const ping = (connection: RawConnection) =>
    connection.frames.find(({ type, flags }) => type === types.ping && flags === 0);

  async function leaving(server: EchoServer, connection: RawConnection): Promise<void> {
    await expectAlive(connection);
    for (const each of server.connections) each.shutdown();
    await connection.until((frames) => frames.some(({ type, flags }) => type === types.ping && flags === 0));
  }

  it('GOAWAY with the largest id and a PING; what was sent before its answer is served; GOAWAY with the last id; the end', async () => {
    const server = await startEcho();
    const connection = await speak(server, headers(1, 0));
    await leaving(server, connection);
    expect(lastId(goaways(connection)[0]?.payload)).toBe(2 ** 31 - 1);
    await connection.write(
      Buffer.concat([whole(3), frame(types.ping, ack, 0, ping(connection)?.payload ?? none)]),
    );
    await connection.until(() => goaways(connection).length === 2);
    expect(lastId(goaways(connection)[1]?.payload)).toBe(3);
    await answered(connection, 3);
    // A stream after the last is not served, and the one that is open still is.
    await connection.write(Buffer.concat([whole(5), data(1, endStream, Buffer.from('done'))]));
    await connection.closed;
    await answered(connection, 1);
    expect(connection.frames.filter(({ stream }) => stream === 5)).toEqual([]);
    expect(goaways(connection).map(({ payload }) => payload.readUInt32BE(4))).toEqual([0, 0]);
  });

  it('a client that does not answer the PING has a second', async () => {
    const server = await startEcho();
    const connection = await speak(server);
    await leaving(server, connection);
    await connection.closed;
    expect(goaways(connection).map(({ payload }) => lastId(payload))).toEqual([2 ** 31 - 1, 0]);
    await expect.poll(() => server.connections.size).toBe(0);
  });
});

describe('a silent client', () => {
  it('6.7 is asked for a sign of life, and cut off when it gives none', async () => {
    const server = await startEcho({ keepaliveTimeMs: 50, keepaliveTimeoutMs: 50 });
    const connection = await speak(server);
    await connection.closed;
    expect(connection.frames.filter(({ type, flags }) => type === types.ping && flags === 0)).toHaveLength(1);
  });
});

describe('10.5 what asks for nothing is bounded', () => {
  const many = (bytes: Buffer) => Buffer.concat(Array.from({ length: 6000 }, () => bytes));

  it.each([
    ['PING', many(frame(types.ping, 0, 0, Buffer.alloc(8)))],
    ['acknowledgements of PING', many(frame(types.ping, ack, 0, Buffer.alloc(8)))],
    ['SETTINGS', many(settingsFrame())],
    ['PRIORITY', many(frame(types.priority, 0, 1, Buffer.alloc(5)))],
    ['frames of unknown types', many(frame(0x33, 0, 0, none))],
    ['WINDOW_UPDATE of one byte', many(windowFrame(0, 1))],
    ['DATA without bytes', Buffer.concat([headers(1, 0), many(data(1, 0))])],
    [
      'CONTINUATION without bytes',
      Buffer.concat([frame(types.headers, 0, 1, block(plain)), many(frame(types.continuation, 0, 1, none))]),
    ],
    ['GOAWAY', many(frame(types.goaway, 0, 0, Buffer.alloc(8)))],
    [
      'streams that are opened and reset',
      Buffer.concat(
        Array.from({ length: 1000 }, (_, index) =>
          Buffer.concat([headers(2 * index + 1, 0), frame(types.reset, 0, 2 * index + 1, u32(8))]),
        ),
      ),
    ],
    [
      'streams that we have to reset',
      Buffer.concat(
        Array.from({ length: 1000 }, (_, index) =>
          Buffer.concat([headers(2 * index + 1, 0), windowFrame(2 * index + 1, 0)]),
        ),
      ),
    ],
  ])('%s', async (_what, bytes) => {
    const connection = await speak(await startEcho(), bytes);
    expect(await endOf(connection)).toBe(c.enhanceYourCalm);
  });

  it('a client that asks and reads nothing is not read from any further', async () => {
    const large = Buffer.alloc(4000, 'x');
    let answers = 0;
    const server = await startEcho({ maxUnsentBytes: 64 << 10 }, (stream) => {
      answers++;
      stream.listener = { data: () => {}, closed: () => {} };
      stream.respondWhole([':status', '200'], large, []);
    });
    const connection = await speak(
      server,
      settingsFrame({ initialWindow: 2 ** 31 - 1 }),
      windowFrame(0, 2 ** 31 - 1 - 65_535),
    );
    connection.pause();
    let asked = 0;
    while (await connection.write(Buffer.concat(Array.from({ length: 100 }, () => whole(2 * asked++ + 1)))));
    expect(answers).toBeLessThan(asked);
    connection.resume();
    await expect.poll(() => answers, { timeout: 15_000 }).toBe(asked);
  }, 30_000);
});
