/**
 * `layercache audit` right after a real garbage collection of Debian's
 * docker-registry: it finds exactly what was collected.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DockerRegistry } from '../parts/docker-registry.js';
import { run } from '../parts/layercache-process.js';
import { RedisServer } from '../parts/redis-server.js';

let root: string;
let redis: RedisServer;
let registry: DockerRegistry;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'layercache-audit-'));
  redis = await RedisServer.start();
  registry = await DockerRegistry.start({ root, redisPort: redis.port });
});
afterAll(async () => {
  await registry?.stop();
  await redis?.stop();
  await rm(root, { recursive: true, force: true });
});

async function audit(
  ...more: string[]
): Promise<{ code: number | null; findings: Finding[]; summary: Summary }> {
  const args = [`--storage=file://${root}`, `--cache=${redis.url}`, '--json', ...more];
  const { code, stdout, stderr } = await run(['audit', ...args]);
  expect(stderr).toBe('');
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  return { code, findings: lines.slice(0, -1), summary: lines.at(-1) };
}

interface Finding {
  readonly kind: string;
  readonly repository?: string;
  readonly digest?: string;
  readonly fixed: boolean;
}
interface Summary {
  readonly found: Readonly<Record<string, number>>;
  readonly memberships: number;
  readonly fixed: number;
}

it('finds exactly what was collected, --fix leaves nothing, a second run finds nothing', async () => {
  const [shared, first, second, third] = Array.from({ length: 4 }, () => randomBytes(500));
  if (shared === undefined || first === undefined || second === undefined || third === undefined)
    throw new TypeError('no layers');
  const kept = await registry.pushImage('library/kept', [shared, first]);
  const collected = await registry.pushImage('library/collected', [shared, second, third]);
  await run(['warm', `--storage=file://${root}`, `--cache=${redis.url}`]);
  expect(await audit()).toMatchObject({ code: 0, findings: [] });

  await registry.deleteManifest('library/collected', collected.manifest);
  await registry.collectGarbage();
  const [, ...gone] = collected.layers;
  const client = await redis.client();
  // The configuration is the same for both images, and the shared layer is of the kept image too.
  const found = await audit();
  expect(found.code).toBe(1);
  const memberships = found.findings.filter(({ kind }) => kind === 'membership-gone');
  expect(memberships.map(({ repository, digest }) => `${repository}@${digest}`).sort()).toEqual(
    gone.map((digest) => `library/collected@${digest}`).sort(),
  );
  const metadata = found.findings.filter(({ kind }) => kind === 'metadata-gone').map(({ digest }) => digest);
  expect(metadata).toEqual(expect.arrayContaining(gone));
  // Manifests are blobs to the registry's cache.
  expect([...metadata].sort()).toEqual(
    [...gone, ...(metadata.includes(collected.manifest) ? [collected.manifest] : [])].sort(),
  );
  expect(found.findings.every(({ fixed }) => !fixed)).toBe(true);

  const fixed = await audit('--fix');
  expect(fixed.code).toBe(1);
  expect(fixed.summary.fixed).toBe(found.findings.length);
  expect(await audit()).toMatchObject({ code: 0, findings: [] });
  for (const digest of gone) expect(await client.exists(`blobs::${digest}`)).toBe(0);
  for (const digest of kept.layers) {
    expect(await client.sismember('repository::library/kept::blobs', digest)).toBe(1);
    expect(await client.hget(`blobs::${digest}`, 'size')).toBe('500');
  }
  expect(await registry.pull('library/kept', kept.layers[1] ?? '')).toEqual(first);
});
