/**
 * gRPC frames on the wire, whole, damaged, cut anywhere: the direct transport answers what
 * grpc-js answers, to the byte.
 */
import { strict as assert } from 'node:assert';
import type { ClientHttp2Session } from 'node:http2';
import { inspect, isDeepStrictEqual } from 'node:util';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import {
  type Asked,
  connectTo,
  frame,
  ReversingServer,
  wireAnswer,
} from '../../test/parts/reversing-server.js';
import { nearlyBytes } from './inputs.ts';
import { type Target, target } from './targets.ts';

const messages = fc.oneof(
  fc.string({ maxLength: 40 }).map((text) => frame(text)),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => frame(Buffer.from(bytes))),
  fc.string({ maxLength: 40 }).map((text) => frame(gzipSync(text), 1)),
  fc.constantFrom(frame('fail'), frame(''), frame(Buffer.from([0xff]))),
);

const bodies = nearlyBytes(
  fc.array(messages, { maxLength: 2 }).map((frames) => new Uint8Array(Buffer.concat(frames))),
);

const headers = fc.record(
  {
    'grpc-encoding': fc.constantFrom('identity', 'gzip', 'deflate', 'snappy'),
    // None that a timer cannot wait for: of those grpc-js makes a race.
    'grpc-timeout': fc.constantFrom('10S', '60000m', 'S', '-1S', '1.5S', '10 S', 'soon'),
    'content-type': fc.constantFrom('application/grpc', 'application/grpc+proto', 'application/json', ''),
    ':path': fc.constantFrom('/test.Texts/Reverse', '/test.Texts/reverse', '/', '/test.Texts/Reverse/'),
    traceparent: fc.string({ unit: fc.constantFrom(...'0af-'), maxLength: 60 }),
  },
  { requiredKeys: [] },
);

const calls = fc.record({ headers: fc.oneof(fc.constant({}), headers), body: bodies, cut: fc.nat() });

/** Milliseconds between the two parts of a body, in turn. */
const gapsMs = [0, 5, 20, 0, 0, 5, 20, 0];

/** One side of the duel: a server, and a connection to it that is built again when it fell. */
class Side {
  readonly #server: ReversingServer;
  #session: ClientHttp2Session | undefined;

  constructor(server: ReversingServer) {
    this.#server = server;
  }

  answer(asked: Asked): Promise<unknown> {
    if (this.#session === undefined || this.#session.destroyed || this.#session.closed)
      this.#session = connectTo(this.#server.url);
    return wireAnswer(this.#session, asked);
  }

  stop(): void {
    this.#session?.destroy();
    this.#server.stop();
  }
}

export const frameDuel: Target = {
  name: 'gRPC frames on the wire, two servers',
  weight: 0.2,
  check: async (runs, seed, tried) => {
    const ours = new Side(await ReversingServer.start('direct'));
    const theirs = new Side(await ReversingServer.start('grpc-js'));
    try {
      const duel = target('', 0, calls, async ({ headers: sent, body, cut }) => {
        const at = cut % (body.length + 1);
        const writes = [body.subarray(0, at), body.subarray(at)].filter((part) => part.length > 0);
        const asked = { headers: sent as Record<string, string>, writes, gapMs: 0 };
        const [own, other] = await Promise.all([ours.answer(asked), theirs.answer(asked)]);
        if (isDeepStrictEqual(own, other)) return;
        // Of two things wrong with a body, which is met first hangs on how it travels.
        const may = [other, await theirs.answer({ ...asked, writes: [body] })];
        for (const gapMs of gapsMs) may.push(await theirs.answer({ ...asked, gapMs }));
        assert.ok(
          may.some((each) => isDeepStrictEqual(each, own)),
          `${inspect(own, { depth: 4 })} is none of ${inspect(may, { depth: 5 })}`,
        );
      });
      await duel.check(runs, seed, tried);
    } finally {
      ours.stop();
      theirs.stop();
    }
  },
};
