/** Sentinel and Cluster that let in only who shows a certificate and names a user: real processes. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { CacheError, type LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { openCache } from '../../../src/cache/open.js';
import { digestOf } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { CertificateAuthority, type IssuedCertificate } from '../../parts/certificate-authority.js';
import { RedisCluster } from '../../parts/redis-cluster.js';
import { RedisSentinels } from '../../parts/redis-sentinels.js';
import { RedisServer } from '../../parts/redis-server.js';

const digest = digestOf('sha256', 'a'.repeat(64));
const meta = { path: blobPath(digest), length: 42 };

// As docs/configuration.md has it: all that we need, and nothing else.
const redisRights = [
  ...['~repository::*', '~blobs::*', '-@all', '+hello', '+auth', '+info', '+ping'],
  ...['+sismember', '+smismember', '+sadd', '+srem', '+hmget', '+hset', '+hdel', '+hlen', '+del'],
];
const clusterRights = ['+cluster|slots', '+cluster|info', '+asking', '+readonly', '+readwrite'];
const sentinelRights = [
  ...['-@all', '+hello', '+auth', '+subscribe', '&+switch-master'],
  ...['+sentinel|get-master-addr-by-name', '+sentinel|sentinels'],
];

const nearRights = ['+client|id', '+client|tracking', '+subscribe', '&__redis__:invalidate'];

const admin = { username: 'admin', password: 'of-the-test' };
const everything = ['on', `>${admin.password}`, '~*', '&*', '+@all'];

/** Redis's arguments: nobody is let in by default. */
function users(rights: readonly string[]): string[] {
  return [
    ...['--user', 'default', 'off', '--user', admin.username, ...everything],
    ...['--user', 'layers', 'on', '>hunter2+redis', ...rights],
    ...['--masteruser', admin.username, '--masterauth', admin.password],
  ];
}

let authority: CertificateAuthority;
let sentinels: RedisSentinels;
let cluster: RedisCluster;
let own: IssuedCertificate;
let folder: string;

const printed = vi.spyOn(console, 'error');

beforeAll(async () => {
  authority = await CertificateAuthority.create();
  folder = await mkdtemp(join(tmpdir(), 'layercache-identity-'));
  const issue = (...names: string[]) => authority.issue({ names });
  own = await issue('DNS:layercache');
  const [byAddress, byName] = [await issue('IP:127.0.0.1'), await issue('DNS:localhost')];
  const tls = ({ certFile, keyFile }: IssuedCertificate) => ({
    certFile,
    keyFile,
    caFile: authority.certFile,
  });
  [sentinels, cluster] = await Promise.all([
    RedisSentinels.start({
      args: users(redisRights),
      account: admin,
      tls: tls(byAddress),
      sentinel: [
        `sentinel auth-user <master> ${admin.username}`,
        `sentinel auth-pass <master> ${admin.password}`,
        `sentinel sentinel-user ${admin.username}`,
        `sentinel sentinel-pass ${admin.password}`,
        'user default off',
        `user ${admin.username} ${everything.join(' ')}`,
        `user asker on >hunter2+sentinel ${sentinelRights.join(' ')}`,
      ],
    }),
    RedisCluster.start({
      args: [
        ...users([...redisRights, ...clusterRights]),
        // A cluster of names, whose certificates hold those alone.
        ...['--cluster-announce-hostname', 'localhost', '--cluster-preferred-endpoint-type', 'hostname'],
      ],
      account: admin,
      tls: tls(byName),
    }),
  ]);
});

afterEach(() => expect(printed.mock.calls).toEqual([]));

afterAll(async () => {
  await Promise.all([sentinels?.stop(), cluster?.stop(), authority?.delete()]);
  if (folder !== undefined) await rm(folder, { recursive: true });
});

function mockListener() {
  return { onUp: vi.fn<(up: boolean) => void>(), onError: vi.fn<(error: Error) => void>() };
}

async function open(url: string, listener = mockListener()): Promise<LayerInfoCache> {
  const cache = await openCache(url, { timeoutMs: 1_000, ...listener });
  onTestFinished(() => cache.close());
  return cache;
}

const byFile = async (name: string, password: string) => {
  const file = join(folder, name);
  await writeFile(file, `${password}\n`);
  return file;
};

const tlsParameters = () => `ca=${authority.certFile}&cert=${own.certFile}&key=${own.keyFile}`;
const nodes = () =>
  cluster.servers
    .slice(0, 3)
    .map(({ port }) => `localhost:${port}`)
    .join(',');

/** A URL for each, by the passwords of the two. */
const urls = {
  'redis+sentinel': {
    byText: (redis = 'hunter2%2Bredis', sentinel = 'hunter2%2Bsentinel', tls = tlsParameters()) =>
      `rediss+sentinel://layers:${redis}@${sentinels.hosts}/the-master?sentinel-user=asker&sentinel-password=${sentinel}&${tls}`,
    byFile: async () =>
      `rediss+sentinel://layers@${sentinels.hosts}/the-master?${tlsParameters()}` +
      `&password-file=${await byFile('redis', 'hunter2+redis')}` +
      `&sentinel-user=asker&sentinel-password-file=${await byFile('sentinel', 'hunter2+sentinel')}`,
  },
  'redis+cluster': {
    byText: (redis = 'hunter2%2Bredis', _?: string, tls = tlsParameters()) =>
      `rediss+cluster://layers:${redis}@${nodes()}?${tls}`,
    byFile: async () =>
      `rediss+cluster://layers@${nodes()}?${tlsParameters()}&password-file=${await byFile('cluster', 'hunter2+redis')}`,
  },
} as const;
const kinds = ['redis+sentinel', 'redis+cluster'] as const;

/** Every command that there is. */
async function useAll(cache: LayerInfoCache): Promise<void> {
  await cache.record('repo', digest, digest, meta);
  expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta });
  expect(await cache.containsMany('repo', [digest, 'sha256:b'])).toEqual([true, false]);
  await cache.evictMeta(digest);
  await cache.evict('repo', [digest]);
  await cache.add('repo', digest);
  await cache.setMeta(digest, meta);
  await cache.remove('repo', digest);
  expect(await cache.lookup('repo', digest)).toEqual({ member: false, meta: undefined });
}

it.each(kinds)('rediss for %s: with a certificate, a user and no right too many', async (kind) => {
  const listener = mockListener();
  await useAll(await open(urls[kind].byText(), listener));
  expect(listener.onUp.mock.calls).toEqual([[true]]);
  expect(listener.onError.mock.calls).toEqual([]);
});

it.each(kinds)('rediss for %s: with passwords in files', async (kind) => {
  await useAll(await open(await urls[kind].byFile()));
});

it('redis: a user with those rights, and with the few more that near takes', async () => {
  const server = await RedisServer.start({ args: users([...redisRights, ...nearRights]), account: admin });
  onTestFinished(() => server.stop());
  const url = `redis://layers@127.0.0.1:${server.port}?password-file=${await byFile('single', 'hunter2+redis')}`;
  const listener = mockListener();
  await useAll(await open(url, listener));
  const cache = await open(`${url}&near=10`, listener);
  await useAll(cache);
  await cache.record('repo', digest, digest, meta);
  const plain = await server.client();
  // It is held here only while the news of its change would come.
  await vi.waitFor(async () => {
    await plain.config('RESETSTAT');
    expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta });
    expect(await plain.info('commandstats')).not.toContain('sismember');
  });
  await plain.srem('repository::repo::blobs', digest);
  await vi.waitFor(async () => expect(await cache.contains('repo', digest)).toBe(false));
  expect(listener.onError.mock.calls).toEqual([]);
});

const refusals: [string, (kind: (typeof kinds)[number]) => string][] = [
  ['a wrong password', (kind) => urls[kind].byText('hunter2-wrong')],
  [
    'no certificate of our own',
    (kind) => urls[kind].byText(undefined, undefined, `ca=${authority.certFile}`),
  ],
  [
    'an authority that is not theirs',
    (kind) => urls[kind].byText(undefined, undefined, `ca=${own.certFile}`),
  ],
];
it.each(kinds.flatMap((kind) => refusals.map(([what, url]) => [kind, what, url] as const)))(
  'rediss for %s: %s is no cache, and told without the secret',
  async (kind, _, url) => {
    await refused(url(kind));
  },
);

it('rediss for redis+sentinel: the sentinels have a password of their own', async () => {
  await refused(urls['redis+sentinel'].byText(undefined, 'hunter2-wrong'));
});

async function refused(url: string): Promise<void> {
  const listener = mockListener();
  const cache = await open(url, listener);
  const error = await cache.contains('repo', digest).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(CacheError);
  expect(listener.onUp.mock.calls).toEqual([[false]]);
  expect(listener.onError).toHaveBeenCalled();
  const said = inspect([listener.onError.mock.calls, error], { depth: 20, showHidden: true });
  expect(said).not.toMatch(/hunter2|of-the-test/);
}

it.each<[(typeof kinds)[number], () => RedisServer]>([
  ['redis+sentinel', () => sentinels.master],
  ['redis+cluster', () => cluster.masterOf('repository::repo::blobs')],
])('rediss for %s: the successor of a master that dies has the same user', async (kind, master) => {
  const cache = await open(urls[kind].byText());
  await cache.add('repo', digest);
  const plain = await master().client();
  await plain.call('WAIT', 1, 5_000);
  await master().kill();
  await vi.waitFor(async () => expect(await cache.contains('repo', digest)).toBe(true), {
    timeout: 15_000,
    interval: 50,
  });
  await vi.waitFor(() => cache.remove('repo', digest), { timeout: 5_000, interval: 50 });
});
