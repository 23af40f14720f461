/**
 * Flow control as a property (RFC 9113, 5.2 and 6.9): whatever windows a client
 * opens, in whatever order, it is never sent a byte that it did not grant, and
 * in the end every byte has come once, in order.
 */
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Http2Connection } from '../../src/http2/connection.js';
import { frameHeaderBytes } from '../../src/http2/frames.js';
import { Slabs } from '../../src/http2/output.js';
import type { Http2Stream } from '../../src/http2/stream.js';
import { Turns } from '../../src/http2/turns.js';
import {
  callHeaders,
  endStream,
  type Frame,
  frame,
  framesOf,
  preface,
  settingsFrame,
  types,
  windowFrame,
} from '../parts/http2-frames.js';
import { options } from './echo.js';

/** What a stream answers with: pieces of so many bytes, each with room for its frames' headers or without. */
const pieces = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 40_000 }), hasGaps: fc.boolean() }), {
  minLength: 1,
  maxLength: 4,
});

const grants = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('stream' as const),
      which: fc.nat(3),
      by: fc.integer({ min: 1, max: 50_000 }),
    }),
    fc.record({ kind: fc.constant('connection' as const), by: fc.integer({ min: 1, max: 100_000 }) }),
    fc.record({ kind: fc.constant('initial' as const), window: fc.integer({ min: 0, max: 70_000 }) }),
  ),
  { maxLength: 20 },
);

const enough = 1 << 20;
const defaultWindow = 65_535;

/** A client that counts what it has granted. */
class CountingClient {
  readonly #answers: ReadonlyMap<number, Buffer>;
  readonly #windows = new Map<number, number>();
  readonly #received = new Map<number, Buffer[]>();
  readonly #ended = new Set<number>();
  #connectionWindow = defaultWindow;
  #initial = defaultWindow;
  #unread = Buffer.alloc(0);

  constructor(answers: ReadonlyMap<number, Buffer>) {
    this.#answers = answers;
    for (const id of answers.keys()) this.#windows.set(id, defaultWindow);
  }

  get isDone(): boolean {
    return this.#ended.size === this.#answers.size;
  }

  granted(id: number, by: number): void {
    if (id === 0) this.#connectionWindow += by;
    else this.#windows.set(id, this.#windowOf(id) + by);
  }

  initial(window: number): void {
    for (const id of this.#windows.keys()) this.granted(id, window - this.#initial);
    this.#initial = window;
  }

  read(bytes: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, bytes]);
    const whole = framesOf(this.#unread);
    this.#unread = this.#unread.subarray(
      whole.reduce((sum, { payload }) => sum + frameHeaderBytes + payload.length, 0),
    );
    for (const one of whole) this.#frame(one);
  }

  expectAll(): void {
    for (const [id, answer] of this.#answers) {
      expect(Buffer.concat(this.#received.get(id) ?? []).equals(answer), `stream ${id}`).toBe(true);
    }
  }

  #frame({ type, flags, stream, payload }: Frame): void {
    expect([types.goaway, types.reset]).not.toContain(type);
    if (type === types.data) {
      this.granted(stream, -payload.length);
      this.#connectionWindow -= payload.length;
      // A window may be negative only by a change of the initial one (6.9.2), and then nothing is sent.
      if (payload.length > 0) expect(this.#windowOf(stream)).toBeGreaterThanOrEqual(0);
      expect(this.#connectionWindow).toBeGreaterThanOrEqual(0);
      const received = this.#received.get(stream) ?? [];
      received.push(payload);
      this.#received.set(stream, received);
    }
    if ((type === types.data || type === types.headers) && (flags & endStream) !== 0) this.#ended.add(stream);
  }

  #windowOf(id: number): number {
    return this.#windows.get(id) ?? 0;
  }
}

it('5.2, 6.9: never more is sent than was granted, and in the end all of it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(pieces, { minLength: 1, maxLength: 4 }), grants, async (streams, steps) => {
      const answers = new Map(streams.map((own, index) => [2 * index + 1, ownBytes(own, index)] as const));
      const client = new CountingClient(answers);
      const [ours, theirs] = duplexPair();
      ours.on('data', (bytes: Buffer) => client.read(bytes));
      const shared = { turns: new Turns(), slabs: new Slabs() };
      const connection = new Http2Connection(
        theirs,
        options,
        shared,
        (stream) => answer(stream, streams[(stream.id - 1) / 2] ?? [], answers.get(stream.id)),
        () => {},
      );
      try {
        const requests = [...answers.keys()].flatMap((id) => [
          callHeaders('/', id),
          frame(types.data, endStream, id, Buffer.alloc(0)),
        ]);
        ours.write(Buffer.concat([preface, settingsFrame(), ...requests]));
        for (const step of steps) {
          // What the server sent before it knew of the step was allowed by the windows before.
          await settled();
          if (step.kind === 'initial') {
            client.initial(step.window);
            ours.write(settingsFrame({ initialWindow: step.window }));
          } else {
            const id = step.kind === 'connection' ? 0 : 2 * (step.which % streams.length) + 1;
            client.granted(id, step.by);
            ours.write(windowFrame(id, step.by));
          }
        }
        for (const id of [0, ...answers.keys()]) {
          client.granted(id, enough);
          ours.write(windowFrame(id, enough));
        }
        await expect.poll(() => client.isDone, { interval: 1 }).toBe(true);
        client.expectAll();
      } finally {
        connection.destroy();
        ours.destroy();
      }
    }),
    { numRuns: 150 },
  );
});

/** The bytes of a stream's answer, no two neighbours alike. */
function ownBytes(own: readonly { readonly bytes: number }[], index: number): Buffer {
  const length = own.reduce((sum, { bytes }) => sum + bytes, 0);
  return Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 7 + index * 31) % 251));
}

function answer(
  stream: Http2Stream,
  own: readonly { readonly bytes: number; readonly hasGaps: boolean }[],
  body: Buffer | undefined,
): void {
  stream.listener = { data: () => {}, closed: () => {} };
  stream.respond([':status', '200']);
  let at = 0;
  for (const { bytes, hasGaps } of own) {
    const piece = body?.subarray(at, at + bytes) ?? Buffer.alloc(0);
    at += bytes;
    if (hasGaps) stream.write(spread(piece), undefined, gaps);
    else stream.write(piece);
  }
  stream.end(['x-trailer', 'yes']);
}

/** A first frame that has less than the others, as a Fetch's. */
const gaps = { first: 1000, each: 16_384 };

/** The bytes with room before each frame. */
function spread(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + (at === 0 ? gaps.first : gaps.each);
    parts.push(Buffer.alloc(frameHeaderBytes), bytes.subarray(at, end));
    at = end;
  }
  return Buffer.concat(parts);
}

/** Until both sides have had their say: a pair delivers within a few turns. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 6; turn++) await new Promise(setImmediate);
}
