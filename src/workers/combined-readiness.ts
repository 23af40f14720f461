import type { ReadinessState } from '../telemetry/readiness.js';

/**
 * The readiness of several workers combined: ready while one is, degraded while
 * `wanted` are or one of them is. What one of them cannot reach counts as down.
 * @param states of those that are up
 */
export function combinedReadiness(
  states: readonly ReadinessState[],
  wanted: number,
  draining: boolean,
): ReadinessState & Required<Pick<ReadinessState, 'workers'>> {
  const ready = states.filter((state) => state.ready);
  const isReady = ready.length > 0 && !draining;
  return {
    ready: isReady,
    degraded: isReady && (ready.length < wanted || ready.some((state) => state.degraded)),
    storageSeen: states.some((state) => state.storageSeen),
    draining,
    cacheUp: states.every((state) => state.cacheUp),
    storageUp: states.length > 0 && states.every((state) => state.storageUp),
    workers: { ready: ready.length, wanted },
  };
}
