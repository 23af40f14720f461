/** Whether this machine's clock agrees with those that it depends on. */
import type { Redis } from 'ioredis';
import { describeStorage } from '../../storage/open.js';
import { type Finding, fail, ok, warn } from './finding.js';

/** Milliseconds: an HTTP date has whole seconds. */
const agreesMs = 2_000;
/** From here on Amazon's S3 refuses requests (RequestTimeTooSkewed). */
const refusedMs = 15 * 60_000;

/** Milliseconds for which an object store's date is waited for. */
const answerMs = 2_000;

/** The offset of this clock, in milliseconds, as a finding. */
export function clockFinding(what: string, skewMs: number): Finding {
  const seconds = Math.abs(skewMs) / 1000;
  const cause = `this clock is ${seconds.toFixed(1)} s ${skewMs > 0 ? 'ahead of' : 'behind'} that of ${what}`;
  const advice = 'Let both follow NTP: certificates, tokens and signatures end by the clock.';
  if (Math.abs(skewMs) <= agreesMs) return ok('clock', `it agrees with that of ${what}`);
  return Math.abs(skewMs) < refusedMs ? warn('clock', cause, advice) : fail('clock', cause, advice);
}

/** Nothing where TIME is refused, as for an account with no more than it needs. */
export async function redisClockFinding(redis: Redis, name: string): Promise<Finding[]> {
  const begun = Date.now();
  let answer: readonly (number | string)[];
  try {
    answer = await redis.time();
  } catch {
    return [];
  }
  const [seconds = 0, microseconds = 0] = answer.map(Number);
  const middle = begun + (Date.now() - begun) / 2;
  return [clockFinding(name, middle - (seconds * 1000 + microseconds / 1000))];
}

/** By the date of an answer of the object store's endpoint, where the URL names one. */
export async function storageClockFindings(storage: string, signal: AbortSignal): Promise<Finding[]> {
  const endpoint = new URLSearchParams(storage.slice(storage.indexOf('?') + 1)).get('endpoint');
  if (!/^(s3|azblob):/i.test(storage) || endpoint === null) return [];
  const begun = Date.now();
  let date: string | null;
  try {
    const ending = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
    const response = await fetch(endpoint, { method: 'HEAD', redirect: 'manual', signal: ending });
    date = response.headers.get('date');
  } catch {
    // That it cannot be reached is told by the storage's own findings.
    return [];
  }
  const told = Date.parse(date ?? '');
  if (Number.isNaN(told)) return [];
  // The header has whole seconds, so half of one is the best guess of the rest.
  const middle = begun + (Date.now() - begun) / 2;
  return [clockFinding(describeStorage(storage).split('?', 1)[0] ?? 'the storage', middle - told - 500)];
}
