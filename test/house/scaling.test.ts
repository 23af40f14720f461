/** What docs/scaling.md says is so. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { type ClientOptions, credentials } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { describeCache } from '../../src/cache/open.js';
import { parseCommandLine } from '../../src/cli/command-line.js';
import { LayerCacheServiceClient } from '../../src/gen/layercache/v1/layer_cache.js';
import { describeStorage } from '../../src/storage/open.js';
import type { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const docs = join(import.meta.dirname, '..', '..', 'docs');
const page = await readFile(join(docs, 'scaling.md'), 'utf8');

function block(language: string): string {
  const text = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'm').exec(page)?.[1];
  if (text === undefined) throw new Error(`no block of ${language}`);
  return text;
}

it('the server takes what the manifest starts it with', async () => {
  const args = [...block('yaml').matchAll(/^ +- (serve|--\S+)$/gm)].map(([, arg = '']) => arg);
  const invocation = await parseCommandLine(args, {}, '0');
  expect(invocation).toMatchObject({ command: 'serve', config: { 'drain-timeout': 30_000 } });
  if (invocation.command !== 'serve') return;
  expect(describeCache(invocation.config.cache)).toContain('near: at most 100000 layers');
  expect(describeStorage(invocation.config.storage)).toContain('s3://registry/root');
});

it('its pictures and pages are there', () => {
  const links = [...page.matchAll(/\]\((?!https:)([^)#]+)/g)].map(([, path = '']) => path);
  expect(links).toContain('near-cache.svg');
  expect(links.filter((path) => !existsSync(join(docs, path)))).toEqual([]);
});

it('its client goes through all replicas call by call, and loses no call with one of them', async () => {
  const tree = await TemporaryTree.create();
  onTestFinished(() => tree.delete());
  const repository = repositoryNamed('team/service');
  const digest = await pushLayer(tree, repository, Buffer.from('a layer'));
  const servers = await Promise.all([1, 2].map(() => startServer([`--storage=file://${tree.root}`])));
  await Promise.all(servers.map((server) => server.readyz(200)));
  const options: unknown = runInNewContext(`(${/, credentials, (\{[\s\S]*\})\);/.exec(block('ts'))?.[1]})`);
  const client = new LayerCacheServiceClient(
    `ipv4:${servers.map(({ listen }) => listen).join(',')}`,
    credentials.createInsecure(),
    options as ClientOptions,
  );
  onTestFinished(() => client.close());
  const exists = () =>
    new Promise<boolean>((resolve, reject) => {
      client.exists({ repository, digest, maxAge: undefined }, (error, answer) =>
        error === null ? resolve(answer.exists) : reject(error),
      );
    });
  const callsOf = async (server: LayercacheProcess) => {
    const response = await fetch(`http://${server.admin}/debug/vars`);
    const { layerinfocache } = (await response.json()) as {
      layerinfocache: { Exists: { Requests: number } };
    };
    return layerinfocache.Exists.Requests;
  };
  // Until both are connected, one of them has all calls.
  const deadline = AbortSignal.timeout(10_000);
  while ((await Promise.all(servers.map(callsOf))).includes(0)) {
    deadline.throwIfAborted();
    expect(await exists()).toBe(true);
  }
  const before = await Promise.all(servers.map(callsOf));
  for (let call = 0; call < 10; call++) expect(await exists()).toBe(true);
  const after = await Promise.all(servers.map(callsOf));
  expect(after.map((calls, index) => calls - (before[index] ?? 0))).toEqual([5, 5]);

  await servers[0]?.stop();
  for (let call = 0; call < 10; call++) expect(await exists()).toBe(true);
  expect(await Promise.all(servers.slice(1).map(callsOf))).toEqual([(after[1] ?? 0) + 10]);
});
