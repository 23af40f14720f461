/**
 * What share of Exists the near cache answers, by the near cache itself: in
 * front of a cache that knows every layer and counts what it is asked, on a
 * clock that the stream of requests moves. The seed gives the same stream again.
 */

import { MemoryCache } from '../../src/cache/memory-cache.js';
import { NearCache } from '../../src/cache/near/near-cache.js';
import type { InvalidationListener } from '../../src/cache/near/tracking-connection.js';
import type { Catalogue } from './zipf-layers.ts';

export interface Load {
  readonly catalogue: Catalogue;
  /** The layers asked for, one after the other, begun anew where they end. */
  readonly asked: Uint32Array;
  readonly callsPerSecond: number;
  /** Layers whose repositories are pushed into, one after the other, and how many a second. */
  readonly pushed: Uint32Array;
  readonly pushesPerSecond: number;
}

/** Knows everything. What a hit costs it is the near cache's business. */
class AskedCache extends MemoryCache {
  asked = 0;

  constructor() {
    super(1);
  }

  override async contains(): Promise<boolean> {
    this.asked++;
    return true;
  }
}

/**
 * The share of calls that was not asked of the cache behind, of at least so
 * many as `counted` says. `max` layers are held for `ttlMs`; calls for so long
 * come before, and are counted over whole such times: what was asked for first
 * comes to be read anew all at once.
 */
export async function nearHitRatio(
  { catalogue, asked, callsPerSecond, pushed, pushesPerSecond }: Load,
  { counted, ...near }: { readonly max: number; readonly ttlMs: number; readonly counted: number },
): Promise<number> {
  const behind = new AskedCache();
  const channel: { listener?: InvalidationListener } = {};
  const cache = new NearCache(behind, near, (listener) => {
    channel.listener = listener;
    return { close: async () => {} };
  });
  const { listener } = channel;
  if (listener === undefined) throw new Error('the near cache listens to no channel');
  const warmUp = Math.ceil((near.ttlMs * callsPerSecond) / 1_000);
  const calls = warmUp * Math.ceil(counted / warmUp);
  const stepMs = 1_000 / callsPerSecond;
  let now = 0;
  let pushes = 0;
  let askedBefore = 0;
  // Nothing here waits for more than promises, so nobody else sees this clock.
  const real = performance.now;
  performance.now = () => now;
  try {
    for (let index = 0; index < warmUp + calls; index++) {
      const layer = asked[index % asked.length] ?? 0;
      now = index * stepMs;
      if (index === warmUp) askedBefore = behind.asked;
      for (; pushes < (now * pushesPerSecond) / 1_000; pushes++) {
        const into = catalogue.repository(pushed[pushes % pushed.length] ?? 0);
        listener.invalidated(`repository::${into}::blobs`);
      }
      listener.confirmed(now);
      await cache.contains(catalogue.repository(layer), catalogue.digest(layer));
    }
  } finally {
    performance.now = real;
  }
  await cache.close();
  return 1 - (behind.asked - askedBefore) / calls;
}
