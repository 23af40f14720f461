import { frameDuel } from './frame-duel.ts';
import { sessionTarget } from './http2-targets.ts';
import { messageTargets } from './message-targets.ts';
import { type Target, textTargets } from './targets.ts';

export const allTargets: readonly Target[] = [...textTargets, ...messageTargets, sessionTarget(), frameDuel];

/**
 * Gives the targets at least `runs` inputs together, shared by their weights. A target
 * that fails is told with its counterexample, and the others go on.
 */
export async function fuzz(
  targets: readonly Target[],
  runs: number,
  seed: number,
  tell: (line: string) => void,
): Promise<{ tried: number; failures: number }> {
  const weights = targets.reduce((sum, { weight }) => sum + weight, 0);
  let tried = 0;
  let failures = 0;
  for (const { name, weight, check } of targets) {
    const before = tried;
    const begun = performance.now();
    let outcome = 'ok';
    try {
      await check(Math.ceil((runs * weight) / weights), seed, () => {
        tried += 1;
      });
    } catch (error) {
      failures += 1;
      outcome = `FAILED\n${reasonOf(error)}`;
    }
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    tell(`  ${name}: ${tried - before} inputs in ${seconds} s: ${outcome}`);
  }
  return { tried, failures };
}

/** What the library says of the counterexample, and what was wrong with it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error ? `${error.message}\n${cause.message}` : error.message;
}
