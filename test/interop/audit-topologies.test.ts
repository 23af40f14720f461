/**
 * `layercache audit` where Redis is behind sentinels or a cluster, beside a
 * server and a registry that are in use: what a garbage collection took is found,
 * `--fix` leaves nothing, and pushes and Removes that run meanwhile are no finding.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerRegistry } from '../parts/docker-registry.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess, run } from '../parts/layercache-process.js';
import { RedisCluster } from '../parts/redis-cluster.js';
import { RedisSentinels } from '../parts/redis-sentinels.js';

interface Told {
  readonly kind?: string;
  readonly repository?: string;
  readonly digest?: string;
  readonly memberships?: number;
  readonly fixed?: boolean | number;
}

describe.each([
  ['its sentinels', () => RedisSentinels.start()],
  ['a cluster', () => RedisCluster.start()],
] as const)('over a Redis behind %s', (_, start) => {
  let root: string;
  let redis: RedisSentinels | RedisCluster;
  let registry: DockerRegistry;
  let server: LayercacheProcess;
  let client: LayerClient;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'layercache-audit-'));
    [redis, registry] = await Promise.all([start(), DockerRegistry.start({ root })]);
    server = await LayercacheProcess.start([`--storage=file://${root}`, `--cache=${redis.url}`]);
    client = new LayerClient(server.listen);
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
    await Promise.all([registry?.stop(), redis?.stop()]);
    await rm(root, { recursive: true, force: true });
  });

  async function command(name: 'warm' | 'audit', ...more: string[]) {
    const where = [`--storage=file://${root}`, `--cache=${redis.url}`, '--cache-timeout=5s'];
    const { code, stdout, stderr } = await run([name, ...where, '--json', ...more]);
    expect(stderr).toBe('');
    const lines = stdout.trimEnd().split('\n');
    return { code, told: lines.map((line) => JSON.parse(line) as Told) };
  }

  it('finds exactly what was collected, forgets it, and is then content', { timeout: 60_000 }, async () => {
    const images: { layers: string[]; manifest: string }[] = [];
    // Many keys, so that every master of a cluster has some.
    for (let index = 0; index < 12; index += 1)
      images.push(await registry.pushImage(`library/app-${index}`, [randomBytes(500), randomBytes(500)]));
    expect(await command('warm')).toMatchObject({ code: 0 });
    expect(await command('audit')).toMatchObject({ code: 0, told: [{ memberships: 36 }] });

    const collected = images.slice(0, 6);
    for (const [index, { manifest }] of collected.entries())
      await registry.deleteManifest(`library/app-${index}`, manifest);
    await registry.collectGarbage();
    const expected = collected.flatMap(({ layers }, index) =>
      layers.flatMap((digest) => [
        `membership-gone library/app-${index} ${digest}`,
        `metadata-gone - ${digest}`,
      ]),
    );
    const findings = (told: readonly Told[]) =>
      told
        .filter(({ kind }) => kind !== undefined)
        .map(({ kind, repository, digest }) => `${kind} ${repository ?? '-'} ${digest}`)
        .sort();
    const found = await command('audit');
    expect(found.code).toBe(1);
    expect(findings(found.told)).toEqual(expected.sort());
    const fixed = await command('audit', '--fix');
    expect(fixed.code).toBe(1);
    expect(fixed.told.at(-1)).toMatchObject({ fixed: expected.length });
    expect(await command('audit')).toMatchObject({ code: 0, told: [{ fixed: 0 }] });
    // The server agrees, and still knows what was kept.
    expect(await client.contains('library/app-0', collected[0]?.layers[0] ?? '')).toBe(false);
    expect(await client.contains('library/app-11', images[11]?.layers[0] ?? '')).toBe(true);
  });

  it('raises no false alarm while layers are pushed, asked for, forgotten and deleted', {
    timeout: 60_000,
  }, async () => {
    let isOver = false;
    let rounds = 0;
    const used = async (repository: string) => {
      while (!isOver) {
        const kept = await registry.push(repository, randomBytes(300));
        const forgotten = await registry.push(repository, randomBytes(300));
        for (const digest of [kept, forgotten]) await client.exists(repository, digest);
        // As a frontend does it: at the registry, and in the cache.
        await registry.delete(repository, forgotten);
        await client.remove(repository, forgotten);
        rounds += 1;
      }
    };
    const users = Promise.all(Array.from({ length: 4 }, (_, index) => used(`live/app-${index}`)));
    try {
      for (let time = 0; time < 3; time += 1) {
        const before = rounds;
        const { code, told } = await command('audit', ...(time === 2 ? ['--fix'] : []));
        expect(told.filter(({ kind }) => kind !== undefined)).toEqual([]);
        expect(code).toBe(0);
        expect(rounds).toBeGreaterThan(before);
      }
    } finally {
      isOver = true;
      await users;
    }
    expect(await command('audit')).toMatchObject({ code: 0, told: [{ fixed: 0 }] });
  });
});
