/**
 * What clients do that no gRPC library does, each bounded in bytes and time.
 * They send in small pieces and take breaths, so that whoever shares their
 * event loop is not held up by them but by the server alone.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as breath, setTimeout as delay } from 'node:timers/promises';
import { FetchRequest, FindMissingRequest, StatRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import {
  callFrames,
  callHeaders,
  endHeaders,
  endStream,
  frame,
  grpcFrame,
  headerBlock,
  preface,
  resetFrame,
  settingsFrame,
  types,
  windowFrame,
} from '../parts/http2-frames.js';
import { RawConnection } from '../parts/raw-connection.js';

const mib = 1 << 20;
const widest = 2 ** 31 - 1;
const mostInFrame = 16_384;
const service = '/layercache.v1.LayerCacheService';
const fetchPath = `${service}/Fetch`;
const statPath = `${service}/Stat`;
const watchPath = '/grpc.health.v1.Health/Watch';
const findMissingPath = `${service}/FindMissing`;

/** Bytes that a flood sends between two breaths. */
const pieceBytes = 32 << 10;

export interface Target {
  /** `host:port`. */
  readonly address: string;
  readonly repository: string;
  readonly digest: string;
  /** Of a layer larger than the buffers between server and client. */
  readonly large: string;
}

export class HostileClients {
  readonly #target: Target;
  readonly #open: RawConnection[] = [];

  constructor(target: Target) {
    this.#target = target;
  }

  /** By name: each resolves once it has done its worst, with its connections still open unless the server ended them. */
  readonly attacks: Readonly<Record<string, () => Promise<unknown>>> = {
    'garbage bytes': () => this.#connect(50, randomBytes(64 << 10)),
    'HTTP/1.1': () => this.#connect(50, Buffer.from('GET / HTTP/1.1\r\nHost: layercache.test\r\n\r\n')),
    'connections that say nothing': () => this.#connect(300),
    'half a preface': () => this.#connect(300, preface.subarray(0, 12)),
    'a rapid reset': () =>
      this.#flood(20_000, (stream) =>
        Buffer.concat([callFrames(statPath, stream, this.#stat()), resetFrame(stream)]),
      ),
    'a flood of CONTINUATIONs without bytes': () =>
      this.#flood(20_000, (stream) =>
        stream === 1 ? openBlock() : frame(types.continuation, 0, 1, Buffer.alloc(0)),
      ),
    'a flood of CONTINUATIONs': () => {
      const field = headerBlock('/', [['x-filler', 'x'.repeat(1000)]]).subarray(-1013);
      return this.#flood(5000, (stream) =>
        stream === 1 ? openBlock() : frame(types.continuation, 0, 1, field),
      );
    },
    'a flood of pings': () => this.#flood(100_000, () => frame(types.ping, 0, 0, Buffer.alloc(8))),
    'a flood of pings, no answer read': () =>
      this.#flood(500_000, () => frame(types.ping, 0, 0, Buffer.alloc(8)), { reads: false }),
    'a flood of settings': () =>
      this.#flood(100_000, (stream) => settingsFrame({ initialWindow: stream % 1000 })),
    'a flood of settings, no answer read': () =>
      this.#flood(500_000, () => settingsFrame(), { reads: false }),
    'a flood of priorities': () =>
      this.#flood(100_000, (stream) => frame(types.priority, 0, stream % 1000, Buffer.alloc(5))),
    'a flood of frames of unknown types': () =>
      this.#flood(100_000, (stream) => frame(0x20 + (stream % 200), 0, 0, Buffer.alloc(8))),
    'a flood of DATA without bytes': () =>
      this.#flood(100_000, (stream) =>
        stream === 1 ? callHeaders(statPath, 1) : frame(types.data, 0, 1, Buffer.alloc(0)),
      ),
    'windows that never open': () => this.#takesNoAnswers(),
    'windows of one byte': async () => {
      const first = [preface, settingsFrame({ initialWindow: 1 }), callFrames(fetchPath, 1, this.#fetch())];
      const [connection] = await this.#connect(1, ...first);
      const widening = Buffer.concat(Array.from({ length: 500 }, () => windowFrame(1, 1)));
      for (let index = 0; index < 100 && (await connection?.write(widening)); index++) await breath();
    },
    'windows that overflow': () =>
      this.#connect(20, preface, settingsFrame(), windowFrame(0, widest), windowFrame(0, widest)),
    'headers of many fields': () => {
      const fields = Array.from({ length: 300 }, (_, field) => [`x-${field}`, 'y'] as const);
      return this.#flood(2000, (stream) => callHeaders(statPath, stream, fields));
    },
    'headers of a mebibyte': () => {
      const block = headerBlock(statPath, [['x-long', 'y'.repeat(mib)]]);
      return this.#flood(50, (stream) => blockFrames(stream, block));
    },
    'headers that grow when they are decoded': () => {
      const block = growingBlock();
      return this.#flood(2000, (stream) => frame(types.headers, endHeaders | endStream, stream, block));
    },
    'a message beyond the limit': async () => {
      for (const path of [statPath, fetchPath]) {
        const connections = await this.#connect(20, preface, settingsFrame(), callHeaders(path, 1));
        // It is announced with two gibibytes.
        const begin = Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]);
        for (const one of connections)
          await one.write(frame(types.data, 0, 1, Buffer.concat([begin, Buffer.alloc(16_000)])));
      }
    },
    'requests of which the end never comes': () => this.#unfinished(statPath),
    'Fetches of which the end never comes': () => this.#unfinished(fetchPath),
    'health watches that never end': () => this.#watches(),
    'frames for streams that are not': () =>
      this.#connect(
        20,
        preface,
        settingsFrame(),
        frame(types.data, 0, 9, Buffer.alloc(100)),
        callHeaders(statPath, 2),
      ),
    'more calls than the connection may have': () =>
      this.#flood(20_000, (stream) => callHeaders(statPath, stream)),
    'connections reset in mid-Fetch': async () => {
      const connections = await this.#fetching(100);
      await Promise.all(connections.map((one) => one.until((frames) => frames.length > 10)));
      for (const one of connections) one.reset();
    },
    'Fetches that nobody reads': async () => {
      const connections = await this.#fetching(64);
      for (const one of connections) one.pause();
      await delay(500);
    },
  };

  /** How the connections stand: "open", "closed", or the error code of the GOAWAY that each was sent. */
  get ends(): ReadonlySet<number | 'open' | 'closed'> {
    return new Set(this.#open.map((one) => one.goaway ?? (one.isClosed ? 'closed' : 'open')));
  }

  /** Ends what the server did not. */
  leave(): void {
    for (const connection of this.#open.splice(0)) connection.destroy();
  }

  async #connect(count: number, ...first: readonly Uint8Array[]): Promise<RawConnection[]> {
    const connections: RawConnection[] = [];
    for (let index = 0; index < count; index++) {
      const connection = await RawConnection.open(this.#target.address);
      connections.push(connection);
      this.#open.push(connection);
      if (first.length > 0) await connection.write(Buffer.concat(first));
    }
    return connections;
  }

  #fetching(count: number): Promise<RawConnection[]> {
    return this.#connect(
      count,
      preface,
      settingsFrame({ initialWindow: widest }),
      windowFrame(0, widest - 65_535),
      callFrames(fetchPath, 1, this.#fetch()),
    );
  }

  /** So many times the frames, each for the next stream, until the server takes no more of them. */
  async #flood(
    count: number,
    frames: (stream: number) => Uint8Array,
    { reads }: { reads: boolean } = { reads: true },
  ): Promise<void> {
    const [connection] = await this.#connect(1, preface, settingsFrame());
    if (!reads) connection?.pause();
    let pieces: Uint8Array[] = [];
    let bytes = 0;
    for (let index = 0; index < count; index++) {
      const piece = frames(2 * index + 1);
      pieces.push(piece);
      bytes += piece.length;
      if (bytes < pieceBytes && index < count - 1) continue;
      if (!(await connection?.write(Buffer.concat(pieces)))) return;
      pieces = [];
      bytes = 0;
      await breath();
    }
  }

  /** Asks much and lets no answer through. */
  async #takesNoAnswers(): Promise<void> {
    const { repository } = this.#target;
    const connections = await this.#connect(4, preface, settingsFrame({ initialWindow: 0 }));
    for (const [which, connection] of connections.entries()) {
      for (let call = 0; call < 50; call++) {
        const digests = Array.from(
          { length: 1000 },
          (_, index) => `sha256:${(which * 50_000 + call * 1000 + index).toString(16).padStart(64, '0')}`,
        );
        const message = FindMissingRequest.encode({ repository, digests, maxAge: undefined }).finish();
        await connection.write(callPieces(findMissingPath, 2 * call + 1, grpcFrame(message)));
        await breath();
      }
    }
    await delay(500);
  }

  /** A quarter of a mebibyte each, of a whole one that was announced, and then nothing: more than all may hold. */
  async #unfinished(path: string): Promise<void> {
    const connections = await this.#connect(2, preface, settingsFrame());
    const begin = grpcFrame(Buffer.alloc(mib)).subarray(0, mostInFrame);
    const more = Buffer.alloc(mostInFrame);
    await Promise.all(
      connections.map(async (connection) => {
        for (let piece = 0; piece < 18; piece++) {
          for (let stream = 1; stream < 400; stream += 2) {
            const head = piece === 0 ? callHeaders(path, stream) : Buffer.alloc(0);
            const data = frame(types.data, 0, stream, piece === 0 ? begin : more);
            if (!(await connection.write(Buffer.concat([head, data])))) return;
            if (stream % 16 === 1) await breath();
          }
        }
      }),
    );
  }

  /** As many on each connection as one may have. */
  async #watches(): Promise<void> {
    const connections = await this.#connect(3, preface, settingsFrame());
    for (const connection of connections) {
      const calls = Array.from({ length: 250 }, (_, call) =>
        callFrames(watchPath, 2 * call + 1, Buffer.alloc(0)),
      );
      await connection.write(Buffer.concat(calls));
      await connection.until((frames) =>
        frames.some(({ type, stream }) => type === types.data && stream === 499),
      );
    }
  }

  #stat(): Uint8Array {
    const { repository, digest } = this.#target;
    return StatRequest.encode({ repository, digest, maxAge: undefined }).finish();
  }

  #fetch(): Uint8Array {
    const { repository, large } = this.#target;
    return FetchRequest.encode({
      ...FetchRequest.decode(Buffer.alloc(0)),
      repository,
      digest: large,
    }).finish();
  }
}

/** A header block that is not ended. */
function openBlock(): Buffer {
  return frame(types.headers, 0, 1, headerBlock(statPath));
}

/** A call whose message is longer than a frame. */
function callPieces(path: string, stream: number, data: Buffer): Buffer {
  const pieces = [callHeaders(path, stream)];
  for (let at = 0; at < data.length; at += mostInFrame) {
    const last = at + mostInFrame >= data.length;
    pieces.push(frame(types.data, last ? endStream : 0, stream, data.subarray(at, at + mostInFrame)));
  }
  return Buffer.concat(pieces);
}

/** A header block longer than a frame. */
function blockFrames(stream: number, block: Buffer): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < block.length; at += mostInFrame) {
    const flags = at + mostInFrame >= block.length ? endHeaders : 0;
    const type = at === 0 ? types.headers : types.continuation;
    pieces.push(frame(type, flags, stream, block.subarray(at, at + mostInFrame)));
  }
  return Buffer.concat(pieces);
}

/** One long entry for HPACK's table, and then a byte for each time it is meant again: 8 KB that stand for 30 MB. */
function growingBlock(): Buffer {
  const length = 3700;
  const rest = length - 127;
  const entry = Buffer.concat([
    Buffer.from([0x40, 3]),
    Buffer.from('x-b'),
    Buffer.from([127, (rest & 127) | 128, rest >> 7]),
    Buffer.alloc(length, 'y'),
  ]);
  const newestEntry = 62;
  return Buffer.concat([headerBlock(statPath), entry, Buffer.alloc(8000, 0x80 | newestEntry)]);
}
