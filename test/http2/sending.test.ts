/** What is sent, when it may be sent, and when its memory is free (RFC 9113, 5.2, 6.8 and 6.9), over real sockets. */
import { Duplex } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Http2Connection } from '../../src/http2/connection.js';
import { Slabs } from '../../src/http2/output.js';
import type { Http2Stream } from '../../src/http2/stream.js';
import { Turns } from '../../src/http2/turns.js';
import {
  callHeaders,
  endStream,
  frame,
  preface,
  settingsFrame,
  types,
  windowFrame,
} from '../parts/http2-frames.js';
import type { RawConnection } from '../parts/raw-connection.js';
import { options } from './echo.js';
import { speak, startEcho } from './echo-server.js';

const widest = 2 ** 31 - 1;
const listener = { data: () => {}, closed: () => {} };

function request(stream: number): Buffer {
  return Buffer.concat([callHeaders('/', stream), frame(types.data, endStream, stream, Buffer.alloc(0))]);
}

function dataOf(connection: RawConnection, stream: number): Buffer {
  const own = connection.frames.filter((one) => one.stream === stream && one.type === types.data);
  return Buffer.concat(own.map(({ payload }) => payload));
}

function hasEnded(connection: RawConnection, stream: number): boolean {
  return connection.frames.some((one) => one.stream === stream && (one.flags & endStream) !== 0);
}

describe('the memory of what is written', () => {
  it('is not free before the socket has taken all of it, though its last part is small enough to be copied', async () => {
    const { socket, held } = heldSocket();
    let isFree = false;
    const answer = (stream: Http2Stream) => {
      stream.listener = listener;
      stream.respond([':status', '200']);
      stream.write(Buffer.alloc((48 << 10) + 5), () => {
        isFree = true;
      });
    };
    new Http2Connection(socket, options, shared(), answer, () => {});
    socket.push(Buffer.concat([preface, settingsFrame({ initialWindow: widest }), request(1)]));
    // Every write is held until now; each that is let go lets the next begin.
    await expect.poll(() => held.length).toBeGreaterThan(0);
    let largeParts = 3;
    while (largeParts > 0) {
      expect(isFree, `with ${largeParts} parts to go`).toBe(false);
      const write = held.shift();
      write?.taken();
      if (write?.size === 16_384) largeParts--;
      await new Promise(setImmediate);
    }
    expect(isFree).toBe(true);
  });

  it('is free at once where there is none', async () => {
    let isFree = false;
    const server = await startEcho({}, (stream) => {
      stream.listener = listener;
      stream.respond([':status', '200']);
      stream.write(Buffer.alloc(0), () => {
        isFree = true;
      });
      stream.end(['x-trailer', 'yes']);
    });
    const connection = await speak(server, request(1));
    await connection.until(() => hasEnded(connection, 1));
    expect(isFree).toBe(true);
  });
});

describe('6.9 the connection\u2019s window', () => {
  const sending = (stream: Http2Stream) => {
    stream.listener = listener;
    stream.respond([':status', '200']);
    stream.write(Buffer.alloc(1 << 20));
    stream.end([]);
  };

  it('is shared by the streams in turns, also when it is opened a little at a time', async () => {
    const server = await startEcho({}, sending);
    const streams = [1, 3, 5, 7];
    const connection = await speak(server, settingsFrame({ initialWindow: widest }), ...streams.map(request));
    const total = () => streams.reduce((sum, stream) => sum + dataOf(connection, stream).length, 0);
    await connection.until(() => total() === 65_535);
    for (let step = 1; step <= 40; step++) {
      await connection.write(windowFrame(0, 1000));
      await connection.until(() => total() === 65_535 + step * 1000);
    }
    const [, ...others] = streams.map((stream) => dataOf(connection, stream).length);
    for (const bytes of others) expect(bytes).toBeGreaterThanOrEqual(9000);
  });

  it('is not spent on streams that were reset while they waited for it', async () => {
    const server = await startEcho({}, sending);
    const connection = await speak(server, settingsFrame({ initialWindow: widest }), request(1));
    await connection.until(() => dataOf(connection, 1).length === 65_535);
    for (let stream = 3; stream < 43; stream += 2) {
      await connection.write(request(stream));
      await connection.until((frames) => frames.some((one) => one.stream === stream));
      await connection.write(frame(types.reset, 0, stream, Buffer.from([0, 0, 0, 8])));
    }
    await expect.poll(() => [...server.connections].map(({ streams }) => streams)).toEqual([1]);
    // Its own answer goes on, and alone.
    await connection.write(windowFrame(0, widest - 65_535));
    await connection.until(() => hasEnded(connection, 1));
    expect(connection.frames.filter(({ type, stream }) => type === types.data && stream > 1)).toEqual([]);
  });
});

describe('6.8 a graceful end', () => {
  it('waits for a client that takes the last answer slowly, and for no other', async () => {
    const { socket, held } = heldSocket();
    const answer = (stream: Http2Stream) => {
      stream.listener = listener;
      stream.respond([':status', '200']);
      stream.write(Buffer.alloc(48 << 10));
      stream.end([]);
    };
    const connection = new Http2Connection(socket, options, shared(), answer, () => {});
    socket.push(Buffer.concat([preface, settingsFrame()]));
    connection.shutdown();
    const pong = frame(types.ping, 1, 0, Buffer.from('shutdown'));
    socket.push(Buffer.concat([request(1), pong]));
    await expect.poll(() => socket.writableEnded).toBe(true);
    // Longer in all than a client has that takes nothing.
    for (let step = 0; step < 4; step++) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      expect(socket.destroyed, `step ${step}`).toBe(false);
      held.shift()?.taken();
    }
    expect(socket.writableLength).toBeGreaterThan(0);
    await expect.poll(() => socket.destroyed, { timeout: 3000 }).toBe(true);
  });
});

/** A socket that takes each write when the test says so. */
function heldSocket(): { socket: Duplex; held: { size: number; taken: () => void }[] } {
  const held: { size: number; taken: () => void }[] = [];
  const socket = new Duplex({
    read: () => {},
    write: ({ length }: Buffer, _encoding, taken) => held.push({ size: length, taken }),
  });
  onTestFinished(() => void socket.destroy());
  return { socket, held };
}

function shared() {
  return { turns: new Turns(), slabs: new Slabs() };
}
