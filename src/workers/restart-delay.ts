/** Milliseconds; doubled with each worker of a slot that ends soon after its start. */
const first = 100;
const most = 5000;

/** Milliseconds to wait before the next start, by the number of early exits in a row. */
export function restartDelay(earlyExits: number): number {
  return earlyExits === 0 ? 0 : Math.min(most, first * 2 ** (earlyExits - 1));
}
