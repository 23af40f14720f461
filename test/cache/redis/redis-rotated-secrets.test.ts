/** Passwords, certificates and authorities that are changed in their files: the next connect reads them, without a restart. */
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { openCache } from '../../../src/cache/open.js';
import { CertificateAuthority } from '../../parts/certificate-authority.js';
import { RedisCluster } from '../../parts/redis-cluster.js';
import { RedisSentinels } from '../../parts/redis-sentinels.js';
import { RedisServer } from '../../parts/redis-server.js';

const admin = { username: 'admin', password: 'of-the-test' };
const everything = ['on', `>${admin.password}`, '~*', '&*', '+@all'];
const args = [
  ...['--user', 'default', 'off', '--user', admin.username, ...everything],
  ...['--user', 'layers', 'on', '>s3cret-1', '~*', '&*', '+@all'],
  ...['--masteruser', admin.username, '--masterauth', admin.password],
];

let folder: string;
let errors: Error[];
let changes: boolean[];
let cleanUps: (() => Promise<unknown>)[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-secrets-'));
  errors = [];
  changes = [];
  cleanUps = [() => rm(folder, { recursive: true })];
});

afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 10 });

async function open(url: string): Promise<LayerInfoCache> {
  const cache = await openCache(url, {
    timeoutMs: 500,
    onUp: (up) => changes.push(up),
    onError: (error) => errors.push(error),
  });
  cleanUps.push(() => cache.close());
  return cache;
}

async function secret(name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, `${text}\n`);
  return file;
}

/** The account has another password from now on, and its connections are closed. */
async function rotate(plain: Redis, user: string, password: string): Promise<void> {
  await plain.call('ACL', 'SETUSER', user, 'resetpass', `>${password}`);
  await plain.call('CLIENT', 'KILL', 'USER', user);
}

function nothingTold(): void {
  expect(inspect(errors, { depth: 20, showHidden: true })).not.toContain('s3cret');
}

describe('rule 13: a password that is changed', () => {
  it.each(['', '&near=10'])('in its file and in Redis is used at the next connect (%j)', async (near) => {
    const server = await RedisServer.start({ args, account: admin });
    cleanUps.push(() => server.stop());
    const plain = await server.client();
    const file = await secret('password', 's3cret-1');
    const cache = await open(`redis://layers@127.0.0.1:${server.port}?password-file=${file}${near}`);
    await cache.add('repo', 'x');
    const held = async () => {
      await plain.config('RESETSTAT');
      expect(await cache.contains('repo', 'x')).toBe(true);
      expect(await plain.info('commandstats')).not.toContain('sismember');
    };
    if (near !== '') await eventually(held);
    for (const password of ['s3cret-2', 's3cret-3']) {
      await secret('password', password);
      await rotate(plain, 'layers', password);
      await eventually(async () => expect(await cache.contains('repo', 'x')).toBe(true));
      if (near !== '') await eventually(held);
    }
    expect(changes).toEqual([true, false, true, false, true]);
    expect(errors.map(({ message }) => message).join()).not.toContain('WRONGPASS');
    nothingTold();
  });

  it('in Redis first is found in its file once it is there', async () => {
    const server = await RedisServer.start({ args, account: admin });
    cleanUps.push(() => server.stop());
    const file = await secret('password', 's3cret-1');
    const cache = await open(`redis://layers@127.0.0.1:${server.port}?password-file=${file}`);
    await rotate(await server.client(), 'layers', 's3cret-2');
    await eventually(() => expect(errors.at(-1)?.message).toContain('WRONGPASS'));
    const notice = (message: unknown) => ({
      name: 'CacheNotice',
      message: 'the files of the cache URL cannot be read again',
      cause: expect.objectContaining({ message }),
    });
    const told = (message: unknown) =>
      eventually(() => expect(errors).toContainEqual(expect.objectContaining(notice(message))));
    await rm(file);
    await told('the file of the password cannot be read');
    await secret('password', '');
    await told('the file of the password is empty');
    await secret('password', 's3cret-2');
    await eventually(() => cache.add('repo', 'x'));
    nothingTold();
  });

  it('of the sentinels and of their master is used at the next connect', async () => {
    const rights = ['~*', '&*', '+@all'];
    const world = await RedisSentinels.start({
      args,
      account: admin,
      sentinel: [
        `sentinel auth-user <master> ${admin.username}`,
        `sentinel auth-pass <master> ${admin.password}`,
        `sentinel sentinel-user ${admin.username}`,
        `sentinel sentinel-pass ${admin.password}`,
        'user default off',
        `user ${admin.username} ${everything.join(' ')}`,
        `user asker on >s3cret-a ${rights.join(' ')}`,
      ],
    });
    cleanUps.push(() => world.stop());
    const [redis, sentinel] = [await secret('redis', 's3cret-1'), await secret('sentinel', 's3cret-a')];
    const cache = await open(
      `redis+sentinel://layers@${world.hosts}/the-master?password-file=${redis}&sentinel-user=asker&sentinel-password-file=${sentinel}`,
    );
    await cache.add('repo', 'x');
    await secret('sentinel', 's3cret-b');
    for (const each of world.sentinels)
      await rotate(await each.client({ enableReadyCheck: false }), 'asker', 's3cret-b');
    await secret('redis', 's3cret-2');
    await rotate(await world.master.client(), 'layers', 's3cret-2');
    await eventually(() => expect(changes).toEqual([true, false, true]));
    expect(await cache.contains('repo', 'x')).toBe(true);
    nothingTold();
  });

  it('in a cluster is used by each node at its next connect', async () => {
    const cluster = await RedisCluster.start({ args, account: admin });
    cleanUps.push(() => cluster.stop());
    const file = await secret('password', 's3cret-1');
    const nodes = cluster.url.replace('redis+cluster://', 'redis+cluster://layers@');
    const cache = await open(`${nodes}?password-file=${file}`);
    const repositories = Array.from({ length: 12 }, (_, index) => `repo-${index}`);
    for (const name of repositories) await cache.add(name, 'x');
    await secret('password', 's3cret-2');
    for (const server of cluster.servers) await rotate(await server.client(), 'layers', 's3cret-2');
    await eventually(async () => {
      for (const name of repositories) expect(await cache.contains(name, 'x')).toBe(true);
    });
    nothingTold();
  });
});

describe('rule 13: TLS files that are changed', () => {
  let authority: CertificateAuthority;
  let foreign: CertificateAuthority;
  let parameters: string;
  const file = (name: string) => join(folder, name);

  beforeEach(async () => {
    [authority, foreign] = await Promise.all([CertificateAuthority.create(), CertificateAuthority.create()]);
    cleanUps.push(() => Promise.all([authority.delete(), foreign.delete()]));
    const { certFile, keyFile } = await foreign.issue({ names: ['DNS:layercache'] });
    await copyFile(foreign.certFile, file('ca'));
    await copyFile(certFile, file('cert'));
    await copyFile(keyFile, file('key'));
    parameters = `ca=${file('ca')}&cert=${file('cert')}&key=${file('key')}`;
  });

  /** What is not trusted is changed step by step, through a key that is not the certificate's. */
  async function mend(cache: LayerInfoCache): Promise<void> {
    const own = await authority.issue({ names: ['DNS:layercache'] });
    const told = () => errors.map(({ message, cause }) => `${message} ${inspect(cause)}`).join('\n');
    await eventually(() => expect(errors.length).toBeGreaterThan(0));
    await copyFile(authority.certFile, file('ca'));
    await copyFile(own.certFile, file('cert'));
    await eventually(() => expect(told()).toMatch(/key values mismatch/i));
    await copyFile(own.keyFile, file('key'));
    await eventually(() => cache.add('repo', 'x'));
    expect(await cache.contains('repo', 'x')).toBe(true);
  }

  it('are used at the next connect', async () => {
    const { certFile, keyFile } = await authority.issue({ names: ['IP:127.0.0.1'] });
    const server = await RedisServer.start({ tls: { certFile, keyFile, caFile: authority.certFile } });
    cleanUps.push(() => server.stop());
    const cache = await open(`${server.url}?${parameters}`);
    expect(changes).toEqual([false]);
    await mend(cache);
  });

  it('are used at the next connect to sentinels and their master', async () => {
    const { certFile, keyFile } = await authority.issue({ names: ['IP:127.0.0.1'] });
    const world = await RedisSentinels.start({ tls: { certFile, keyFile, caFile: authority.certFile } });
    cleanUps.push(() => world.stop());
    const cache = await open(`rediss+sentinel://${world.hosts}/the-master?${parameters}`);
    expect(changes).toEqual([false]);
    const own = await authority.issue({ names: ['DNS:layercache'] });
    await Promise.all([
      copyFile(authority.certFile, file('ca')),
      copyFile(own.certFile, file('cert')),
      copyFile(own.keyFile, file('key')),
    ]);
    await eventually(() => cache.add('repo', 'x'));
  });

  it('are used at the next connect to the nodes of a cluster', async () => {
    const { certFile, keyFile } = await authority.issue({ names: ['IP:127.0.0.1'] });
    const cluster = await RedisCluster.start({ tls: { certFile, keyFile, caFile: authority.certFile } });
    cleanUps.push(() => cluster.stop());
    const cache = await open(`${cluster.url.replace('redis+', 'rediss+')}?${parameters}`);
    expect(changes).toEqual([false]);
    await mend(cache);
  });
});
