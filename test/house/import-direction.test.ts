/**
 * The table of rooms: who may import whom. Biome holds it (`biome.json`); here
 * it is shown that each forbidden direction makes the lint command fail.
 */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const biome = join(root, 'node_modules', '.bin', 'biome');

const forbidden: readonly [room: string, specifier: string][] = [
  ['reference', '../layer/errors.js'],
  ['reference', 'node:fs'],
  ['cache', '../storage/storage-driver.js'],
  ['cache', '../layer/errors.js'],
  ['cache', '../../src/rpc/server.js'],
  ['cache', '@opentelemetry/api'],
  ['storage', '../cache/layer-meta.js'],
  ['storage', '../rpc/server.js'],
  ['layer', '../cache/redis/redis-cache.js'],
  ['layer', '../storage/file/file-driver.js'],
  ['layer', '../rpc/call-observer.js'],
  ['layer', '../telemetry/metrics.js'],
  ['layer', '@grpc/grpc-js'],
  ['layer', '@opentelemetry/sdk-metrics'],
  ['layer', 'ioredis'],
  ['layer', 'node:fs/promises'],
  ['rpc', '../cache/memory-cache.js'],
  ['rpc', '../storage/storage-driver.js'],
  ['rpc', '../cli/options.js'],
  ['telemetry', '../cache/redis/redis-cache.js'],
  ['telemetry', '../layer/cached-layer-service.js'],
  ['admin', '../layer/layer-service.js'],
  ['admin', '../rpc/server.js'],
  ['admin', '../server/app.js'],
  ['rpc', '../workers/worker.js'],
  ['telemetry', '../workers/messages.js'],
  ['workers', '../cache/open.js'],
  ['workers', '../storage/storage-driver.js'],
  ['workers', '../layer/layer-services.js'],
  ['workers', '../rpc/server.js'],
  ['workers', '@grpc/grpc-js'],
  ['cache/redis', '../../storage/storage-driver.js'],
  ['storage/object/s3', '../../../rpc/server.js'],
  ['http2', '../grpc/listen.js'],
  ['http2', '@grpc/grpc-js'],
  ['grpc', '../storage/storage-driver.js'],
  ['grpc', '../telemetry/ledger.js'],
  ['grpc', '../rpc/status.js'],
  ['grpc', '../auth/principal.js'],
  ['grpc', '../layer/errors.js'],
  ['grpc', '../reference/digest.js'],
  ['auth', '../layer/errors.js'],
  ['auth', '../rpc/call-aborts.js'],
  ['auth', '../grpc/transport.js'],
  ['auth', '@grpc/grpc-js'],
  ['rpc', '../main.js'],
  ['client', '../reference/digest.js'],
  ['client', '../rpc/status.js'],
  ['client', '../main.js'],
  ['maintenance', '../cache/redis/redis-inventory.js'],
  ['maintenance', '../storage/file/file-driver.js'],
  ['maintenance', '../cli/progress.js'],
  ['maintenance', 'ioredis'],
  ['layer', '../maintenance/warm.js'],
  ['rpc', '../maintenance/warm.js'],
];

const allowed: readonly [room: string, specifier: string][] = [
  ['reference', './digest.js'],
  ['cache', '../reference/digest.js'],
  ['cache', './layer-meta.js'],
  ['storage', 'node:fs'],
  ['layer', '../cache/layer-info-cache.js'],
  ['layer', '../storage/storage-driver.js'],
  ['rpc', '../layer/errors.js'],
  ['rpc', '../gen/layercache/v1/layer_cache.js'],
  ['telemetry', '../layer/observer.js'],
  ['admin', '../telemetry/readiness.js'],
  ['workers', '../server/app.js'],
  ['workers', '../telemetry/ledger.js'],
  ['workers', '../grpc/listen.js'],
  ['cache/redis', '../../reference/digest.js'],
  ['storage/object/s3', '../../storage-driver.js'],
  ['http2', 'node:net'],
  ['grpc', '../http2/connection.js'],
  ['auth', '../reference/repository-name.js'],
  ['rpc', '../auth/access.js'],
  ['client', '../gen/layercache/v1/layer_cache.js'],
  ['client', './errors.js'],
  ['client', '@grpc/grpc-js'],
  ['maintenance', '../layer/upstream-layer-service.js'],
  ['maintenance', '../cache/cache-inventory.js'],
  ['maintenance', '../storage/storage-driver.js'],
];

/** Other ways to import what src/cache may not. */
const disguised: readonly [way: string, statement: string][] = [
  ["a type's import", "import type { X } from '../rpc/server.js';\nexport type Y = X;\n"],
  ['a re-export', "export { x } from '../rpc/server.js';\n"],
  ['a dynamic import', "export const x = import('../rpc/server.js');\n"],
];

function fileOf(room: string, name: string): string {
  return `src/${room}/${name.replace(/[^a-z]+/gi, '-')}.ts`;
}

let house: string;
let status: number | null;
let findings: ReadonlySet<string | undefined>;

beforeAll(async () => {
  house = await mkdtemp(join(tmpdir(), 'layercache-house-'));
  await cp(join(root, 'biome.json'), join(house, 'biome.json'));
  const plant = async (file: string, statement: string) => {
    const path = join(house, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, statement);
  };
  for (const [room, specifier] of [...forbidden, ...allowed]) {
    await plant(fileOf(room, specifier), `import { x } from '${specifier}';\nconsole.log(x);\n`);
  }
  for (const [way, statement] of disguised) await plant(fileOf('cache', way), statement);

  const args = ['lint', '--vcs-enabled=false', '--reporter=github', '--max-diagnostics=none', '.'];
  const lint = spawnSync(biome, args, { cwd: house, encoding: 'utf8' });
  status = lint.status;
  const lines = `${lint.stdout}${lint.stderr}`.matchAll(/noRestrictedImports,file=([^,]+),/g);
  findings = new Set([...lines].map((match) => relative(house, match[1] ?? '')));
});
afterAll(() => rm(house, { recursive: true, force: true }));

describe('a room imports only what the table of rooms allows', () => {
  it('a forbidden import fails the lint command', () => expect(status).toBe(1));

  it.each(forbidden)('src/%s may not import %s', (room, specifier) => {
    expect(findings).toContain(fileOf(room, specifier));
  });

  it.each(disguised)('%s counts too', (way) => {
    expect(findings).toContain(fileOf('cache', way));
  });

  it.each(allowed)('src/%s may import %s', (room, specifier) => {
    expect(findings).not.toContain(fileOf(room, specifier));
  });
});
