/** What `layercache audit` does: compares the cache with storage and prints what is wrong. */
import { Audit } from '../maintenance/audit.js';
import type { AuditCounts, Finding, FindingKind } from '../maintenance/audit-findings.js';
import { StorageWalk } from '../maintenance/storage-walk.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { grouped, type ProgressOutput, WalkProgress } from './walk-progress.js';
import { type Streams, type WalkSettings, walking } from './walked-storage.js';

export interface AuditSettings extends WalkSettings {
  readonly fix: boolean;
  readonly hash: boolean;
}

/**
 * Audits until all is compared; gives how many findings there are. Throws
 * `CommandError` for what fails or is interrupted, `ConfigError` for what was
 * asked wrongly.
 */
export async function audit(
  settings: AuditSettings,
  signal: AbortSignal,
  { stdout, stderr }: Streams,
): Promise<number> {
  const kinds = new Map<FindingKind, number>();
  let fixed = 0;
  const onFinding = (finding: Finding) => {
    kinds.set(finding.kind, (kinds.get(finding.kind) ?? 0) + 1);
    if (finding.fixed) fixed += 1;
    stdout.write(settings.json ? `${JSON.stringify(finding)}\n` : `${line(finding)}\n`);
  };
  let counts: AuditCounts | undefined;
  const onNotice = (notice: string) => stderr.write(`layercache: ${notice}\n`);
  const failure = await walking(settings, true, signal, onNotice, async ({ driver, examiner }, inventory) => {
    if (inventory === undefined) throw new TypeError('an audit has a cache');
    const walk = new StorageWalk(driver, signal, () => {});
    const { fix, hash } = settings;
    const comparison = new Audit({ driver, examiner, inventory, walk, fix, hash, onFinding }, signal);
    counts = comparison.counts;
    await compared(comparison, settings.repositories, stderr);
  });
  if (counts !== undefined) {
    const summary = { done: failure === undefined, counts, kinds, fixed };
    stdout.write(settings.json ? summaryObject(summary) : summaryLines(summary, settings.hash));
  }
  if (failure !== undefined) throw failure;
  let found = 0;
  for (const count of kinds.values()) found += count;
  return found;
}

async function compared(
  comparison: Audit,
  repositories: readonly RepositoryName[],
  stderr: ProgressOutput,
): Promise<void> {
  const { counts } = comparison;
  const progress = new WalkProgress(stderr, 'memberships and metadata', () => ({
    done: counts.memberships + counts.metadata,
    total: undefined,
    more: counts.hashed === 0 ? '' : `${grouped(counts.hashed)} blobs hashed`,
  }));
  try {
    await (repositories.length === 0 ? comparison.all() : comparison.repositories(repositories));
  } finally {
    progress.end();
  }
}

interface Summary {
  readonly done: boolean;
  readonly counts: AuditCounts;
  readonly kinds: ReadonlyMap<FindingKind, number>;
  readonly fixed: number;
}

/** `membership-gone library/app sha256:… fixed`. */
function line({ kind, repository, digest, fixed }: Finding): string {
  return [kind, repository ?? '-', digest ?? '-', ...(fixed ? ['fixed'] : [])].join(' ');
}

function summaryLines({ done, counts, kinds, fixed }: Summary, hashes: boolean): string {
  const compared = `compared ${grouped(counts.memberships)} memberships and the metadata of ${grouped(counts.metadata)} blobs`;
  const found = Array.from(kinds, ([kind, count]) => `${grouped(count)} ${kind}`).join(', ');
  return [
    `${compared}${hashes ? `, hashed ${grouped(counts.hashed)} blobs` : ''}${done ? '' : ', and was not done'}`,
    found === '' ? 'found nothing wrong' : `found ${found}; fixed ${grouped(fixed)}`,
    ...(counts.uncached === 0 ? [] : [`${grouped(counts.uncached)} layers of storage are not in the cache`]),
    '',
  ].join('\n');
}

function summaryObject({ done, counts, kinds, fixed }: Summary): string {
  const { memberships, metadata, hashed, uncached } = counts;
  const told = { done, memberships, metadata, hashed, uncached, found: Object.fromEntries(kinds), fixed };
  return `${JSON.stringify(told)}\n`;
}
