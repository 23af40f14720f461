/** Many small calls at once: what a registry's frontends do all day. */
import type { Bench, Shape } from '../bench.ts';
import type { Calls } from '../requests.ts';
import { type Proof, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { Layercache } from '../servers/layercache.ts';
import type { RedisServer } from '../servers/redis.ts';
import type { Server } from '../servers/server.ts';

const shape: Shape = { connections: 4, streams: 32 };
/** As many calls in flight as a registry serves well on one core. */
const http1Shape: Shape = { connections: 32, streams: 1 };

/** What a call leaves behind, but for its line of log, which the server's telemetry decides. */
export type CallEffects = Omit<Proof, 'lines'>;

/** A hit that asks Redis nothing. */
export const hit: CallEffects = { hits: 1, misses: 0, asksRedis: false };

/** With room for all layers, and no age limit within a run. */
export function nearUrl({ url }: RedisServer): string {
  return `${url}?near=50000&near-ttl=1h`;
}

/** That server, warmed, as a subject; none when it could not be had. */
export async function small(
  bench: Bench,
  server: Server | undefined,
  calls: Calls,
  left?: CallEffects,
  load: Shape = server?.protocol === 'http1' ? http1Shape : shape,
): Promise<Subject[]> {
  if (server === undefined) return [];
  await bench.warm(server, calls, 2 * bench.tree.small.length);
  const proof = left && { ...left, lines: linesOf(server) };
  return [
    {
      name: server.name,
      telemetry: telemetryOf(server),
      unit: 'calls/s',
      measure: async (seconds, proven) => {
        const loadOf = { ...load, seconds };
        const { rate, busy } = await provenLoad(bench, server, calls, loadOf, proven ? proof : undefined);
        return { value: rate, busy };
      },
    },
  ];
}

/** Lines of the access log for each call. */
export function linesOf(server: Server): number {
  return server instanceof Layercache && server.telemetry.includes('access log') ? 1 : 0;
}
