/** What `layercache warm` does: writes what storage holds into the cache. */
import type { CacheInventory } from '../cache/cache-inventory.js';
import { describeCache } from '../cache/open.js';
import { RateLimiter } from '../maintenance/rate-limiter.js';
import { ResumePoint } from '../maintenance/resume-point.js';
import { inWalkOrder, StorageWalk } from '../maintenance/storage-walk.js';
import {
  type Left,
  layersSeen,
  type Skipped,
  Warm,
  type WarmCounts,
  warmCounts,
} from '../maintenance/warm.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { describeStorage } from '../storage/open.js';
import type { StorageDriver } from '../storage/storage-driver.js';
import { causeOf } from '../telemetry/error-text.js';
import { ResumeFile } from './resume-file.js';
import { bytes, duration, grouped, type ProgressOutput, WalkProgress } from './walk-progress.js';
import { type Streams, type WalkedStorage, type WalkSettings, walking } from './walked-storage.js';

export interface WarmSettings extends WalkSettings {
  /** The most layers a second. */
  readonly rate: number;
  /** The file that says where an interrupted walk goes on. */
  readonly resume: string | undefined;
  readonly dryRun: boolean;
}

/** What the walk could not use, in the words of the summary. */
const reasons: Readonly<Record<Skipped, string>> = {
  absent: 'whose link or blob is gone',
  'link-corrupt': 'whose link is corrupt',
  'blob-truncated': 'whose blob is empty',
  'outside-root': 'behind a symlink out of the storage root',
  unreadable: 'that the storage cannot read',
  'wrong-type': 'of a repository whose key in the cache has another type',
};
const leftReasons: Readonly<Record<Left, string>> = {
  'wrong-type': 'whose key in the cache has another type',
  'length-differs': 'of another length in the cache (layercache audit decides)',
};

/** Warms until all is done. Throws `CommandError` for what fails or is interrupted, `ConfigError` for what was asked wrongly. */
export async function warm(
  settings: WarmSettings,
  signal: AbortSignal,
  { stdout, stderr }: Streams,
): Promise<void> {
  const say = (line: string) => stderr.write(`layercache: ${line}\n`);
  const subject = {
    storage: describeStorage(settings.storage),
    cache: settings.dryRun ? 'none' : describeCache(settings.cache),
  };
  const resumed = settings.resume === undefined ? undefined : await ResumeFile.open(settings.resume, subject);
  if (resumed?.after !== undefined) say(`warm goes on after ${resumed.after}`);
  const resumePoint = new ResumePoint(resumed?.after);
  resumed?.file.follow(
    () => resumePoint.after,
    (error) => say(`--resume: ${causeOf(error)}`),
  );
  const counts = warmCounts();
  const begunAt = performance.now();
  const failure = await walking(settings, !settings.dryRun, signal, say, (storage, inventory) =>
    walk(settings, { storage, inventory, counts, resumePoint, signal, stderr }),
  );
  if (failure === undefined) await resumed?.file.remove();
  else await resumed?.file.keep(resumePoint.after);
  const seconds = (performance.now() - begunAt) / 1000;
  stdout.write(
    settings.json
      ? summaryObject(counts, seconds, failure === undefined)
      : summary(counts, seconds, settings.dryRun),
  );
  if (failure === undefined) return;
  if (resumed !== undefined)
    say(`the same command goes on after ${resumePoint.after ?? 'nothing: no repository is done'}`);
  throw failure;
}

interface Walk {
  readonly storage: WalkedStorage;
  readonly inventory: CacheInventory | undefined;
  readonly counts: WarmCounts;
  readonly resumePoint: ResumePoint;
  readonly signal: AbortSignal;
  readonly stderr: ProgressOutput;
}

async function walk(
  { repositories, rate }: WarmSettings,
  { storage, inventory, counts, resumePoint, signal, stderr }: Walk,
): Promise<void> {
  const { driver, examiner } = storage;
  const { after } = resumePoint;
  const layers = new StorageWalk(driver, signal, () => {
    counts.foreignNames += 1;
  });
  const chosen = (by: StorageWalk) =>
    repositories.length > 0 ? sorted(repositories, after) : by.repositories(after);
  // The names are counted beside the walk, which takes long after its names are known.
  const counting = new AbortController();
  const counter = new LayerCounter();
  const count = counter.count(driver, chosen, AbortSignal.any([signal, counting.signal]));
  const progress = new WalkProgress(stderr, 'layers', () => ({
    done: layersSeen(counts),
    total: counter.total,
    more: `${grouped(counts.repositories)} repositories, ${bytes(counts.bytes)}`,
  }));
  try {
    const limiter = new RateLimiter(rate);
    await new Warm({ walk: layers, examiner, inventory, limiter, counts }).run(
      chosen(layers),
      resumePoint,
      signal,
    );
  } finally {
    progress.end();
    counting.abort();
    await count;
  }
}

/** Counts the layers that there are to warm. */
class LayerCounter {
  /** `undefined` until all are counted. */
  total: number | undefined;

  /** Never rejects: what fails here fails the walk as well, which tells it. */
  async count(
    driver: StorageDriver,
    chosen: (walk: StorageWalk) => AsyncIterable<RepositoryName>,
    signal: AbortSignal,
  ): Promise<void> {
    let total = 0;
    const walk = new StorageWalk(driver, signal, () => {});
    try {
      for await (const repository of chosen(walk))
        for await (const page of walk.layers(repository)) total += page.length;
      this.total = total;
    } catch {
      // The total stays unknown.
    }
  }
}

/** In the order of a walk, so that it can go on after any of them. */
async function* sorted(
  repositories: readonly RepositoryName[],
  after: RepositoryName | undefined,
): AsyncGenerator<RepositoryName, void, void> {
  const inOrder = [...new Set(repositories)].sort(inWalkOrder);
  yield* inOrder.filter((repository) => after === undefined || inWalkOrder(repository, after) > 0);
}

function summary(counts: WarmCounts, seconds: number, isDryRun: boolean): string {
  const { layers, repositories, metadata, foreignNames, skipped, left } = counts;
  const rate = grouped(Math.round(layersSeen(counts) / Math.max(seconds, 0.001)));
  const lines = [
    `${isDryRun ? 'would warm' : 'warmed'} ${grouped(layers)} layers of ${grouped(repositories)} repositories, ${bytes(counts.bytes)}, metadata of ${grouped(metadata)} blobs, in ${duration(seconds)} (${rate} layers/s)`,
    ...Array.from(skipped, ([why, count]) => `skipped ${grouped(count)} layers ${reasons[why]}`),
    ...Array.from(left, ([why, count]) => `left the metadata of ${grouped(count)} blobs ${leftReasons[why]}`),
  ];
  if (foreignNames > 0)
    lines.push(`passed over ${grouped(foreignNames)} names that are no repository's or no digest`);
  return `${lines.join('\n')}\n`;
}

function summaryObject(counts: WarmCounts, seconds: number, isDone: boolean): string {
  const { layers, repositories, metadata, foreignNames, skipped, left } = counts;
  const told = {
    done: isDone,
    layers,
    repositories,
    bytes: counts.bytes,
    metadata,
    skipped: Object.fromEntries(skipped),
    left: Object.fromEntries(left),
    foreign_names: foreignNames,
    seconds: Number(seconds.toFixed(3)),
  };
  return `${JSON.stringify(told)}\n`;
}
