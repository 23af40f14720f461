/** `layercache doctor`: each symptom with the part that has it, by the line that tells of it. */

import { execFile } from 'node:child_process';
import { appendFile, chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { clockFinding } from '../../src/cli/doctor/clock-findings.js';
import { limitsFindings } from '../../src/cli/doctor/limits-findings.js';
import { resolveConfig } from '../../src/cli/options.js';
import { type Digest, hexOf } from '../../src/reference/digest.js';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { type RunOptions, run } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RadosGateway } from '../parts/rados-gateway.js';
import { RedisCluster } from '../parts/redis-cluster.js';
import { RedisServer, type RedisServerOptions } from '../parts/redis-server.js';
import { startServer } from '../parts/server-of-test.js';
import { TcpProxy } from '../parts/tcp-proxy.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { withoutPrivilege } from '../parts/without-privilege.js';

let folder: string;
let tree: TemporaryTree;
let redis: RedisServer;
let digest: Digest;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-doctor-'));
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  redis = await RedisServer.start();
});
afterAll(async () => {
  await redis.stop();
  await tree.delete();
  await rm(folder, { recursive: true, force: true });
});

interface Examined {
  readonly code: number | null;
  readonly lines: readonly string[];
}

/** What it says of a server that is all right but for these options. */
async function doctor(args: readonly string[], options: RunOptions = {}): Promise<Examined> {
  const ports = ['--listen=127.0.0.1:0', '--admin=127.0.0.1:0'];
  const all = ['doctor', `--storage=file://${tree.root}`, ...ports, ...args];
  const { code, stdout, stderr } = await run(all, options);
  expect(stderr).toBe('');
  const lines = stdout.trimEnd().split('\n');
  for (const line of lines) expect(line).toMatch(/^(ok {2}|warn|fail) {2}\w.*: ./);
  expect(code).toBe(lines.some((line) => line.startsWith('fail')) ? 1 : 0);
  return { code, lines };
}

async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  onTestFinished(() => server.stop());
  return server;
}

const matching = (pattern: RegExp) => expect.stringMatching(pattern);

it('says of a server that is well what it has looked at, and exits with 0', async () => {
  const { code, lines } = await doctor([`--cache=${redis.url}`, '--max-connections=100', '--max-streams=10']);
  expect(code).toBe(0);
  for (const pattern of [
    /^ok {4}storage: file:\/\/\S+ is there and holds a registry \(\d+ ms\)$/,
    /^ok {4}storage: read: blobs can be listed and read$/,
    /^ok {4}cache: redis:\/\/127\.0\.0\.1:\d+\/0 is connected$/,
    /^ok {4}cache: a round trip takes \d\.\d ms$/,
    /^ok {4}cache: version 7\.\S+, master$/,
    /^ok {4}cache: it takes writes$/,
    /^ok {4}clock: it agrees with that of cache$/,
    /^ok {4}tls: gRPC is served in plain text, on this machine only$/,
    /^ok {4}limits: descriptors: /,
    /^ok {4}port: --listen 127\.0\.0\.1:0 is free$/,
  ])
    expect(lines).toContainEqual(matching(pattern));
  // It leaves nothing behind.
  expect(await (await redis.client()).dbsize()).toBe(0);
});

it('prints one object a line with --json, and takes a configuration file', async () => {
  const file = join(folder, 'layercache.yaml');
  await writeFile(file, `storage: file://${folder}/absent\nlisten: 127.0.0.1:0\nadmin: off\n`);
  const { code, stdout } = await run(['doctor', '--json', `--config=${file}`]);
  expect(code).toBe(1);
  const findings = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(findings).toContainEqual({
    status: 'fail',
    what: 'storage',
    cause: `the storage root ${folder}/absent does not exist`,
    advice: 'Correct --storage, or mount or make what it names.',
  });
  expect(findings).toContainEqual({ status: 'ok', what: 'port', cause: '--admin is off' });
});

it.each([
  [['--cache=foo:'], /^layercache: --cache: unknown scheme/],
  [['--storage=foo:'], /^layercache: --storage: unknown storage scheme/],
  [['--tls-cert=/c'], /^layercache: --tls-cert needs --tls-key/],
  [['--verify=no'], /^layercache: --verify must be one of/],
])('%j is asked wrongly', async (args, line) => {
  const { code, stdout, stderr } = await run(['doctor', ...args]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(line);
});

describe('storage', () => {
  it.each([
    ['absent', /^fail {2}storage: the storage root \S+ does not exist\. Correct --storage, or mount/],
    [
      '',
      /^fail {2}storage: the storage root \S+ does not hold \/docker\/registry\/v2\. Make --storage the registry/,
    ],
  ])('a mount point that is missing or empty: %j', async (name, line) => {
    const { lines } = await doctor([`--storage=file://${folder}/${name}`]);
    expect(lines).toContainEqual(matching(line));
  });

  it('a blob that the account may not read', async () => {
    const hex = hexOf(digest);
    const blob = join(tree.root, `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`);
    await chmod(blob, 0o000);
    onTestFinished(() => chmod(blob, 0o644));
    const { lines } = await doctor([], { node: await withoutPrivilege(folder) });
    expect(lines).toContainEqual(
      matching(
        /^fail {2}storage: read: \/docker\S+data cannot be read: .*EACCES.*\. Let the account of the server/,
      ),
    );
  });

  it('a tree that may not be listed', async () => {
    const blobs = join(tree.root, 'docker/registry/v2/blobs');
    await chmod(blobs, 0o311);
    onTestFinished(() => chmod(blobs, 0o755));
    const { code, lines } = await doctor([], { node: await withoutPrivilege(folder) });
    expect(lines).toContainEqual(
      matching(/^warn {2}storage: list: .* cannot be listed: .*EACCES.*warm and audit/),
    );
    expect(code).toBe(0);
  });

  it('a bucket, a prefix and a key of S3', { timeout: 60_000 }, async () => {
    const gateway = await RadosGateway.start();
    onTestFinished(() => gateway.stop());
    const bucket = await gateway.createBucket();
    await pushLayer(
      { put: (path, bytes) => bucket.put(`root${path}`, bytes) },
      repositoryNamed('demo/app'),
      Buffer.from('a layer'),
    );
    const env = gateway.environment;
    const [right, wrongBucket, wrongPrefix, wrongKey] = await Promise.all([
      doctor([`--storage=${bucket.url('root')}`], { env }),
      doctor([`--storage=${bucket.url('root').replace(bucket.name, 'layers')}`], { env }),
      doctor([`--storage=${bucket.url('other')}`], { env }),
      doctor([`--storage=${bucket.url('root')}`], { env: { ...env, AWS_SECRET_ACCESS_KEY: 'wrong' } }),
    ]);
    expect(right.lines).toContainEqual(matching(/^ok {4}storage: read: blobs can be listed and read$/));
    expect(right.lines).toContainEqual(matching(/^ok {4}clock: it agrees with that of s3:\/\//));
    expect(wrongBucket.lines).toContainEqual(
      matching(/^fail {2}storage: the bucket layers does not exist\. Correct --storage/),
    );
    expect(wrongPrefix.lines).toContainEqual(
      matching(
        /^fail {2}storage: .* holds no key that begins with other\/docker\S+\. Make --storage the registry/,
      ),
    );
    expect(wrongKey.lines).toContainEqual(
      matching(/^fail {2}storage: .* 403 SignatureDoesNotMatch\. Correct the credentials/),
    );
  });

  it('a store that never answers, within its deadline, and one whose clock is wrong', async () => {
    let answers = false;
    const store = createServer((_, response) => {
      if (!answers) return;
      response.setHeader('date', new Date(Date.now() - 3600_000).toUTCString());
      response.writeHead(403).end();
    }).listen(0, '127.0.0.1');
    onTestFinished(() => {
      store.close();
      store.closeAllConnections();
    });
    await new Promise((resolve) => store.once('listening', resolve));
    const { port } = store.address() as AddressInfo;
    const storage = `--storage=s3://layers/root?path-style=true&endpoint=http://127.0.0.1:${port}`;
    const env = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret' };
    const silent = await doctor([storage, '--storage-timeout=500ms'], { env });
    expect(silent.lines).toContainEqual(
      matching(/^fail {2}storage: .*within 500 ms.*\. See whether the mount or the network hangs\.$/),
    );
    answers = true;
    const late = await doctor([storage], { env });
    expect(late.lines).toContainEqual(
      matching(
        /^fail {2}clock: this clock is 3\d{3}\.\d s ahead of that of s3:\/\/layers\/root\. Let both follow NTP/,
      ),
    );
  });
});

describe('cache', () => {
  async function linesOf(options: RedisServerOptions): Promise<Examined> {
    return doctor([`--cache=${(await startRedis(options)).url}`]);
  }

  it('a Redis that is stopped', async () => {
    const stopped = await startRedis();
    await stopped.kill();
    expect((await doctor([`--cache=${stopped.url}`])).lines).toContainEqual(
      matching(/^fail {2}cache: Redis cannot be reached: connect ECONNREFUSED \S+\. Start Redis/),
    );
  });

  it('a Redis that hangs', { timeout: 30_000 }, async () => {
    const hung = await startRedis();
    hung.pause();
    onTestFinished(() => hung.resume());
    expect((await doctor([`--cache=${hung.url}`])).lines).toContainEqual(
      matching(/^fail {2}cache: Redis cannot be reached: .*\. See whether Redis or the network hangs\.$/),
    );
  });

  it('sentinels and a cluster of which nothing answers', { timeout: 30_000 }, async () => {
    const stopped = await startRedis();
    await stopped.kill();
    const [sentinels, cluster] = await Promise.all([
      doctor([`--cache=redis+sentinel://127.0.0.1:${stopped.port}/master`]),
      doctor([`--cache=redis+cluster://127.0.0.1:${stopped.port}`]),
    ]);
    expect(sentinels.lines).toContainEqual(
      matching(/^fail {2}cache: Redis cannot be reached: .*sentinels.*\. Start the sentinels, or correct/),
    );
    expect(cluster.lines).toContainEqual(
      matching(/^fail {2}cache: the cluster cannot be reached: .*\. Start Redis, or correct/),
    );
  });

  it('a replica that is read only', async () => {
    const args = ['--replicaof', '127.0.0.1', String(redis.port)];
    expect((await linesOf({ args })).lines).toContainEqual(
      matching(/^fail {2}cache: it refuses writes, .*: READONLY .*\. It is a replica: name the master/),
    );
  });

  it('a memory limit without evictions, and one that is reached', async () => {
    const policy = ['--maxmemory-policy', 'noeviction'];
    const limited = await linesOf({ args: ['--maxmemory', '100mb', ...policy] });
    const warning = matching(
      /^warn {2}cache: its memory is limited to \d+ MiB and its policy is noeviction: /,
    );
    expect(limited.lines).toContainEqual(warning);
    expect(limited.code).toBe(0);
    const full = await linesOf({ args: ['--maxmemory', '100kb', ...policy] });
    expect(full.lines).toContainEqual(warning);
    expect(full.lines).toContainEqual(
      matching(/^fail {2}cache: it refuses writes, .*: OOM .*Its memory is full/),
    );
  });

  it('a password that is wrong, and one that is not repeated', async () => {
    const { url } = await startRedis({ args: ['--requirepass', 'right'] }).catch(() => redis);
    const { lines } = await doctor([`--cache=${url.replace('//', '//:hunter2@')}`]);
    expect(lines).toContainEqual(
      matching(/^fail {2}cache: .*WRONGPASS.*\. Correct the user and the password/),
    );
    expect(lines.join('\n')).not.toContain('hunter2');
  });

  it('a file of the URL that is not there', async () => {
    const { lines } = await doctor([`--cache=${redis.url}?password-file=${folder}/absent`]);
    expect(lines).toContainEqual(
      matching(/^fail {2}cache: .*the file of the password cannot be read.*\. Correct the path/),
    );
  });

  it('a Redis without SMISMEMBER', async () => {
    expect((await linesOf({ args: ['--rename-command', 'SMISMEMBER', ''] })).lines).toContainEqual(
      matching(
        /^warn {2}cache: SMISMEMBER is refused .*: each digest is a command of its own\. Use Redis 6\.2/,
      ),
    );
  });

  it('an account with what docs/configuration.md lists is enough', async () => {
    const server = await startRedis();
    const rights =
      '~repository::* ~blobs::* -@all +hello +auth +info +ping +sismember +smismember +sadd +srem +hmget +hset +hdel +hlen +del';
    await (await server.client()).call('ACL', 'SETUSER', 'cache', 'on', '>secret', ...rights.split(' '));
    const { code, lines } = await doctor([`--cache=${server.url.replace('//', '//cache:secret@')}`]);
    expect(lines.filter((line) => /^(warn|fail) {2}cache/.test(line))).toEqual([]);
    expect(code).toBe(0);
  });

  it('a Redis that is far', async () => {
    const proxy = await TcpProxy.start(redis.port);
    onTestFinished(() => proxy.stop());
    proxy.onConnection = (connection) => connection.delayReplies(60);
    expect((await doctor([`--cache=redis://127.0.0.1:${proxy.port}`])).lines).toContainEqual(
      matching(
        /^warn {2}cache: a round trip takes \d+ ms of the 100 ms of --cache-timeout\. Raise --cache-timeout/,
      ),
    );
  });

  it('a cluster, each master of it, and one node of it that is named alone', {
    timeout: 30_000,
  }, async () => {
    const cluster = await RedisCluster.start();
    onTestFinished(() => cluster.stop());
    const { code, lines } = await doctor([`--cache=${cluster.url}`]);
    expect(lines.filter((line) => /^ok {4}cache 127\.0\.0\.1:\d+: version 7/.test(line))).toHaveLength(3);
    expect(code).toBe(0);
    const [, node = ''] = /(127\.0\.0\.1:\d+)/.exec(cluster.url) ?? [];
    const results = await Promise.all(Array.from({ length: 6 }, () => doctor([`--cache=redis://${node}`])));
    // Two keys of three belong to other nodes.
    expect(results.flatMap(({ lines }) => lines)).toContainEqual(
      matching(/^fail {2}cache: it refuses writes, .*: MOVED .*write redis\+cluster:\/\//),
    );
  });

  it('a Redis that speaks TLS by an authority that is not known here', async () => {
    const authority = await CertificateAuthority.create();
    onTestFinished(() => authority.delete());
    const own = await authority.issue({ names: ['IP:127.0.0.1'] });
    const { url } = await startRedis({ tls: own });
    expect((await doctor([`--cache=${url}`])).lines).toContainEqual(
      matching(/^fail {2}cache: Redis cannot be reached: .*\. Redis and --cache must both speak TLS/),
    );
    expect((await doctor([`--cache=${url}?ca=${authority.certFile}`])).lines).toContainEqual(
      matching(/^ok {4}cache: rediss:\S+ is connected$/),
    );
  });

  it('memory: is of this process alone', async () => {
    expect((await doctor([])).lines).toContainEqual(
      matching(/^ok {4}cache: memory: .*of this process alone/),
    );
  });
});

describe('TLS', () => {
  let authority: CertificateAuthority;
  beforeAll(async () => {
    authority = await CertificateAuthority.create();
  });
  afterAll(() => authority.delete());
  const names = ['DNS:localhost'];
  const pair = ({ certFile, keyFile }: { certFile: string; keyFile: string }) => [
    `--tls-cert=${certFile}`,
    `--tls-key=${keyFile}`,
  ];

  it('a pair that is well', async () => {
    const { code, lines } = await doctor(pair(await authority.issue({ names, days: 90 })));
    expect(lines).toContainEqual(matching(/^ok {4}tls: certificate: .* ends on \S+, in \d+ days$/));
    expect(lines).toContainEqual(
      matching(/^ok {4}tls: chain: 1 of a chain that leads to layercache test authority$/),
    );
    expect(lines).toContainEqual(matching(/^ok {4}tls: key: it is that of the certificate$/));
    expect(code).toBe(0);
  });

  /** One that has ended yesterday. */
  async function expired() {
    const { certFile, keyFile } = await authority.issue({ names });
    const file = `${certFile}.expired`;
    const args = ['-in', certFile, '-signkey', keyFile, '-days', '-1', '-out', file];
    await promisify(execFile)('openssl', ['x509', ...args]);
    return { certFile: file, keyFile };
  }

  it('a certificate that has expired, and one that soon will', async () => {
    expect((await doctor(pair(await expired()))).lines).toContainEqual(
      matching(/^fail {2}tls: certificate: certificate \d+ has expired on \S+\. Renew it/),
    );
    expect((await doctor(pair(await authority.issue({ names, days: 3 })))).lines).toContainEqual(
      matching(/^warn {2}tls: certificate: certificate \d+ ends on \S+, in 2 days\. Renew it/),
    );
  });

  it('a key that cannot be read, and one of another certificate', async () => {
    const [own, other] = [await authority.issue({ names }), await authority.issue({ names })];
    await chmod(own.keyFile, 0o000);
    const closed = await doctor(pair(own), { node: await withoutPrivilege(folder) });
    expect(closed.lines).toContainEqual(
      matching(/^fail {2}tls: --tls-key: \S+: permission denied\. Correct --tls-key, or let the account/),
    );
    const mixed = await doctor([`--tls-cert=${own.certFile}`, `--tls-key=${other.keyFile}`]);
    expect(mixed.lines).toContainEqual(
      matching(/^fail {2}tls: key: it is not the certificate's\. Renew both/),
    );
  });

  it('a key that everybody may read', async () => {
    const own = await authority.issue({ names });
    await chmod(own.keyFile, 0o644);
    expect((await doctor(pair(own))).lines).toContainEqual(
      matching(/^warn {2}tls: key: every account of this machine may read it\. .*chmod o-r/),
    );
  });

  it('a chain in the wrong order, a certificate without names, a client authority that is none', async () => {
    const own = await authority.issue();
    await appendFile(own.certFile, (await authority.issue()).cert);
    const { lines } = await doctor([...pair(own), `--tls-client-ca=${own.certFile}`]);
    expect(lines).toContainEqual(
      matching(/^fail {2}tls: chain: certificate 1 of --tls-cert is not issued by/),
    );
    expect(lines).toContainEqual(matching(/^warn {2}tls: certificate: .* holds no names/));
    expect(lines).toContainEqual(matching(/^fail {2}tls: client authority: .* is no authority/));
  });

  it('a file without a certificate', async () => {
    const own = await authority.issue();
    const { lines } = await doctor([`--tls-cert=${own.keyFile}`, `--tls-key=${own.keyFile}`]);
    expect(lines).toContainEqual(matching(/^fail {2}tls: --tls-cert: there is no certificate in PEM form/));
  });

  it('plain text beyond this machine', async () => {
    expect((await doctor(['--listen=0.0.0.0:0'])).lines).toContainEqual(
      matching(/^warn {2}tls: gRPC is served in plain text beyond this machine/),
    );
  });
});

describe('authentication', () => {
  const tokens = ['--auth=jwt', '--auth-issuer=i', '--auth-service=s'];

  it('keys that cannot be read, or not be used', async () => {
    expect((await doctor([...tokens, `--auth-jwks=${folder}/absent`])).lines).toContainEqual(
      matching(/^fail {2}auth: --auth-jwks: there is no such file\. /),
    );
    await writeFile(join(folder, 'jwks.json'), 'no keys');
    expect((await doctor([...tokens, `--auth-jwks=${folder}/jwks.json`])).lines).toContainEqual(
      matching(/^fail {2}auth: --auth-jwks: /),
    );
  });

  it('a key set that cannot be fetched', async () => {
    const stopped = await startRedis();
    await stopped.kill();
    expect((await doctor([...tokens, `--auth-jwks=http://127.0.0.1:${stopped.port}/`])).lines).toContainEqual(
      matching(/^fail {2}auth: the key set of --auth-jwks cannot be fetched: /),
    );
  });
});

it('a folder for profiles and a token that cannot be used', async () => {
  const broken = await doctor([`--diagnostics-dir=${folder}/absent`, `--admin-token-file=${folder}/absent`]);
  expect(broken.lines).toContainEqual(
    matching(/^fail {2}diagnosis: --diagnostics-dir: \S+ does not exist\. Make the directory/),
  );
  expect(broken.lines).toContainEqual(
    matching(/^fail {2}token: --admin-token-file: \S+: there is no such file\. /),
  );
  const { lines } = await doctor([`--diagnostics-dir=${folder}`]);
  expect(lines).toContainEqual('ok    diagnosis: profiles and heap snapshots can be written');
});

describe('limits', () => {
  async function limited(descriptors: number): Promise<string> {
    const script = join(folder, `node-${descriptors}`);
    const limit = `--nofile=${descriptors}:${descriptors}`;
    await writeFile(script, `#!/bin/sh\nexec prlimit ${limit} '${process.execPath}' "$@"\n`, { mode: 0o755 });
    return script;
  }

  it('too few descriptors', async () => {
    expect((await doctor([], { node: await limited(1024) })).lines).toContainEqual(
      matching(
        /^warn {2}limits: descriptors: 1024 may be open; 4000 connections and 1000 Fetches need up to 5400\. Raise/,
      ),
    );
    expect((await doctor([], { node: await limited(128) })).lines).toContainEqual(
      matching(/^fail {2}limits: descriptors: 128 may be open; /),
    );
  });

  /** A kernel that tells of a control group with these files. */
  async function kernel(group: Readonly<Record<string, string>>, groups = '0::/a.slice/b.scope\n') {
    const root = await mkdtemp(join(folder, 'kernel-'));
    const files = { proc: join(root, 'proc'), cgroup: join(root, 'cgroup') };
    await mkdir(files.proc);
    await writeFile(join(files.proc, 'cgroup'), groups);
    for (const [path, value] of Object.entries(group)) {
      await mkdir(join(files.cgroup, path, '..'), { recursive: true });
      await writeFile(join(files.cgroup, path), `${value}\n`);
    }
    return files;
  }
  const config = (given: Record<string, string>) => resolveConfig({ cache: 'redis://h', ...given }, {});

  it('a control group with too little memory, the narrowest of those above it', async () => {
    const files = await kernel({ 'a.slice/memory.max': '536870912', 'a.slice/b.scope/memory.max': 'max' });
    expect(await limitsFindings(config({}), files)).toContainEqual(
      expect.objectContaining({
        status: 'warn',
        cause: '512 MiB may be used; 1 process may take 576 MiB when every Fetch stalls',
      }),
    );
    expect(await limitsFindings(config({ workers: '8' }), files)).toContainEqual(
      expect.objectContaining({ status: 'fail', what: 'limits: memory' }),
    );
    expect(await limitsFindings(config({ 'max-streams': '100' }), files)).toContainEqual(
      expect.objectContaining({ status: 'ok', what: 'limits: memory' }),
    );
  });

  it('the same in the old hierarchy, and in a container that sees the root alone', async () => {
    const old = await kernel({ 'memory/memory.limit_in_bytes': '67108864' }, '5:cpu,memory:/docker/abc\n');
    expect(await limitsFindings(config({}), old)).toContainEqual(
      expect.objectContaining({ status: 'fail', cause: expect.stringContaining('64 MiB may be used') }),
    );
  });

  it('too few processes and threads', async () => {
    const files = await kernel({ 'a.slice/b.scope/pids.max': '60' });
    expect(await limitsFindings(config({ workers: '4' }), files)).toContainEqual(
      expect.objectContaining({
        status: 'fail',
        cause: '60 processes and threads may run, and up to 112 are needed',
      }),
    );
    expect(await limitsFindings(config({ workers: '1' }), files)).toContainEqual(
      expect.objectContaining({ status: 'ok', what: 'limits: threads' }),
    );
  });
});

describe('ports', () => {
  it('one that another program has, and one that may not be had', async () => {
    const taken = `127.0.0.1:${redis.port}`;
    const { lines } = await doctor([
      `--listen=${taken}`,
      '--admin=192.0.2.1:9464',
      `--notifications=${taken}`,
    ]);
    expect(lines).toContainEqual(matching(/^fail {2}port: --notifications \S+ is in use by another program/));
    expect(lines).toContainEqual(matching(/^fail {2}port: --listen \S+ is in use by another program\. Stop/));
    expect(lines).toContainEqual(
      matching(/^fail {2}port: --admin 192\.0\.2\.1:9464 is no address of this machine/),
    );
  });

  it('those of the server that runs are its own', async () => {
    const server = await startServer([`--storage=file://${tree.root}`]);
    await server.readyz(200);
    const { lines } = await doctor([`--listen=${server.listen}`, `--admin=${server.admin}`]);
    expect(lines).toContainEqual(
      matching(/^ok {4}port: --listen \S+ is in use, and a layercache runs there: ready$/),
    );
    const socket = join(folder, 'grpc.sock');
    expect((await doctor([`--listen=unix:${socket}`])).lines).toContainEqual(
      matching(/^ok {4}port: --listen unix:\S+ is free$/),
    );
  });
});

describe('the clock', () => {
  it.each([
    [0, 'ok'],
    [1_900, 'ok'],
    [-5_000, 'warn'],
    [60_000, 'warn'],
    [-900_000, 'fail'],
  ])('%i ms is %s', (skew, status) => expect(clockFinding('Redis', skew)).toMatchObject({ status }));
});
