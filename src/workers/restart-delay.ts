/** Milliseconds; doubled with each worker of a place that ended soon after its start. */
const first = 100;
const most = 5000;

/** Milliseconds to wait before the next, after so many in a row that ended soon. */
export function restartDelay(shortLives: number): number {
  return shortLives === 0 ? 0 : Math.min(most, first * 2 ** (shortLives - 1));
}
