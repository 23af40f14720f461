import { setTimeout as pause } from 'node:timers/promises';
import type { ServiceError } from '@grpc/grpc-js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import { bytesOf, LayerClient } from '../../test/parts/layer-client.js';
import type { Subject } from './callers.ts';
import type { GroundTruth, Name } from './ground-truth.ts';
import type { Sum } from './tally.ts';

/** Milliseconds within which wrong cache entries must be found once no fault is left. */
const patienceMs = 30_000;

/**
 * Now that nothing changes any more, every stale yes must end, also for callers without a
 * `max_age` (rule 15), and every whole layer must be served. Returns what stays wrong.
 */
export async function untilAtRest(
  subjects: readonly Subject[],
  truth: GroundTruth,
  tally: Sum,
): Promise<string[]> {
  const complaints = await Promise.all(subjects.map((subject) => untilRight(subject, truth, tally)));
  return complaints.flat();
}

async function untilRight(subject: Subject, truth: GroundTruth, tally: Sum): Promise<string[]> {
  const client = new LayerClient(subject.address);
  const deadline = performance.now() + patienceMs;
  try {
    let wrong = truth.repositories.flatMap((repository) =>
      truth.names.map((name) => ({ repository, name, problem: '' })),
    );
    while (wrong.length > 0 && performance.now() < deadline) {
      const left: typeof wrong = [];
      for (const { repository, name } of wrong) {
        tally.calls += 1;
        const problem = await problemWith(client, repository, name);
        if (problem !== undefined) left.push({ repository, name, problem });
      }
      wrong = left;
      await pause(200);
    }
    return wrong.map(
      ({ repository, name, problem }) => `${subject.name}: at rest ${repository} ${name.digest}: ${problem}`,
    );
  } finally {
    client.close();
  }
}

async function problemWith(
  client: LayerClient,
  repository: RepositoryName,
  name: Name,
): Promise<string | undefined> {
  const link = name.links.get(repository)?.state.latest ?? 'absent';
  const { kind } = name.content.blob.latest;
  // A cache need not know of damage.
  if (link === 'damaged' || kind === 'empty') return undefined;
  const isThere = link === 'good' && kind !== 'absent';
  try {
    const { exists } = await client.exists(repository, name.digest);
    if (exists !== isThere) return `Exists says ${exists}`;
    if (!isThere || kind !== 'good') return undefined;
    const { bytes } = await bytesOf(client.fetch(repository, name.digest));
    return bytes.equals(name.content.bytes) ? undefined : 'Fetch gives other bytes';
  } catch (error) {
    return (error as ServiceError).message;
  }
}
