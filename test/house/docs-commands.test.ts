/** Every block of command lines in the docs, run in the order in which a reader meets them. */
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { readPage, readPages } from '../parts/docs-pages.js';
import { DocsShell } from '../parts/docs-shell.js';
import { bin } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { TokenIssuer } from '../parts/token-issuer.js';

let tree: TemporaryTree;
let redis: RedisServer;
let digest: Digest;
let shell: DocsShell;
beforeAll(async () => {
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  redis = await RedisServer.start();
  shell = await DocsShell.create({
    '/var/lib/registry': tree.root,
    '127.0.0.1:6379': `127.0.0.1:${redis.port}`,
    '127.0.0.1:5011': '127.0.0.1:0',
    'sha256:<64 hex digits>': digest,
  });
  Object.assign(shell.env, {
    LAYERCACHE_STORAGE: `file://${tree.root}`,
    layer: JSON.stringify({ repository: 'demo/app', digest }),
  });
});
afterAll(async () => {
  await shell.close();
  await redis.stop();
  await tree.delete();
});

/** The blocks of a page, each with what it prints once its turn has come. */
async function blocks(name: string): Promise<(() => Promise<string>)[]> {
  const page = await readPage(name);
  return page.blocks
    .filter(({ language }) => language === 'sh')
    .map(
      ({ text }) =>
        () =>
          shell.run(text),
    );
}

it('all pages with command lines are here', async () => {
  const pages = (await readPages()).filter(({ blocks }) => blocks.some(({ language }) => language === 'sh'));
  expect(pages.map(({ name }) => name).sort()).toEqual([
    'README.md',
    // In docs-clients.test.ts.
    'docs/clients.md',
    // In test/cli/commands-page.test.ts.
    'docs/commands.md',
    // These three in docs-index.test.ts.
    'docs/drivers.md',
    'docs/garbage-collection.md',
    'docs/index.md',
    'docs/migration.md',
    'docs/notifications.md',
    'docs/security.md',
    'docs/warming.md',
  ]);
});

it('no command line is in a block of another kind, where it would not be run', async () => {
  const prompt =
    /^(?:\$ |(?:sudo|npm|npx|node|layercache|curl|docker|kubectl|grpcurl|buf|systemctl|redis-cli)\b)/m;
  const hidden = (await readPages()).flatMap(({ name, blocks }) =>
    blocks
      .filter(({ language, text }) => (language === '' || language === 'text') && prompt.test(text))
      .map(() => name),
  );
  // The whole of the bench, which takes a quarter of an hour.
  expect(hidden).toEqual(['docs/performance.md']);
});

it('README.md', { timeout: 120_000 }, async () => {
  const [quickstart, run, docker, call, secure, ...more] = await blocks('README.md');
  expect(more).toEqual([]);
  expect(await quickstart?.()).toContain('Every answer was right.');
  await run?.();
  expect(await shell.run('cat server.log')).toContain(`redis://127.0.0.1:${redis.port}`);
  await docker?.();
  // How its JSON is spaced is at its own discretion.
  const said = (await call?.())?.replaceAll(' ', '');
  expect(said).toContain('grpc.health.v1.Health');
  expect(said).toContain('layercache.v1.LayerCacheService/FindMissing');
  expect(said).toContain('"exists":true');
  expect(said).toContain('"length":"7"');
  expect(said).toContain('"contains":true');
  // The files that it names are made by docs/security.md's lines.
  await makeCertificate();
  await secure?.();
});

it('docs/warming.md and docs/garbage-collection.md', async () => {
  await symlink(bin, join(shell.folder, 'layercache'));
  shell.env['PATH'] = `${shell.folder}:${process.env['PATH']}`;
  const [warm, ...noMore] = await blocks('docs/warming.md');
  const [audit, ...more] = await blocks('docs/garbage-collection.md');
  expect([...noMore, ...more]).toEqual([]);
  expect(await warm?.()).toMatch(/^warmed 1 layers of 1 repositories/m);
  expect(await audit?.()).toMatch(/^found nothing wrong$/m);
});

it('docs/notifications.md', async () => {
  const [start, ...more] = await blocks('docs/notifications.md');
  expect(more).toEqual([]);
  await start?.();
  expect(await shell.run('cat server.log')).toMatch(/"notifications":"127\.0\.0\.1:\d+"/);
});

it('docs/security.md', { timeout: 120_000 }, async () => {
  const [tls, tokens, ...more] = await blocks('docs/security.md');
  expect(more).toEqual([]);
  expect(await tls?.()).toContain('layercache.v1.LayerCacheService');
  await makeCertificate();
  const [cert, key] = (await Promise.all(
    ['tls.pem', 'tls.key'].map((file) => readFile(join(shell.folder, file))),
  )) as [Buffer, Buffer];
  const issuer = new TokenIssuer({ cert, key, certFile: '', keyFile: '' });
  const access = [{ type: 'repository', name: 'demo/app', actions: ['pull'] }];
  shell.env['token'] = issuer.issue(access, { iss: 'auth.example', aud: 'registry.example' });
  expect((await tokens?.())?.replaceAll(' ', '')).toContain('"length":"7"');
  // The same without a token.
  shell.env['token'] = '';
  await expect(tokens?.()).rejects.toThrow('unauthenticated');
});

/** The certificate of docs/security.md, whose key also signs the tokens. */
async function makeCertificate(): Promise<void> {
  const page = await readPage('docs/security.md');
  const [, request = ''] = /^(openssl[\s\S]*?)\nnode /m.exec(page.text) ?? [];
  await shell.run(`${request} 2>/dev/null && cp tls.pem bundle.pem`);
}
