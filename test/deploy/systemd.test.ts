/** deploy/systemd, by Debian's systemd-analyze, and the server as its units start it. There is no systemd to run them. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { LayerClient } from '../parts/layer-client.js';
import { bin, run } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { type DeployedProgram, portOf, relocated, unknownNames } from './deployed-program.js';
import { imageEnvironment } from './image.js';
import { allowedSystemCalls, systemCallsOf } from './system-calls.js';
import { SystemdUnit, unitFolder } from './systemd-unit.js';

const services = ['layercache.service', 'layercache-sidecar.service', 'layercache-audit.service'] as const;
const repository = repositoryNamed('library/app');
const password = 'a password';

async function said(program: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(program, args);
  return `${stdout}${stderr}`;
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'layercache-systemd-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

it('systemd-analyze verify finds nothing, and would', async () => {
  const folder = await temporaryFolder();
  const units = (await readdir(unitFolder)).filter((name) => /\.(service|timer)$/.test(name));
  expect(units.sort()).toEqual([...services, 'layercache-audit.timer'].sort());
  for (const name of units) {
    const text = await readFile(join(unitFolder, name), 'utf8');
    await writeFile(join(folder, name), text.replace('/usr/bin/layercache', bin));
  }
  const verify = () => said('systemd-analyze', 'verify', ...units.map((name) => join(folder, name)));
  expect(await verify()).toBe('');
  await writeFile(join(folder, 'layercache.service'), `[Service]\nExecStart=${bin}\nProtectHomes=yes\n`);
  expect(await verify()).toContain('ProtectHomes');
});

it.each(services)('%s is exposed to no more than 1.2 of 10', async (name) => {
  const unit = join(unitFolder, name);
  // Above the threshold, in tenths, it fails.
  const analyze = (threshold: number) =>
    said('systemd-analyze', 'security', '--offline=true', `--threshold=${threshold}`, unit);
  expect(await analyze(12)).toMatch(/Overall exposure level for .*: [01]\.\d/);
  await expect(analyze(1)).rejects.toThrow();
});

it('systemd-sysusers makes the user that the units name', async () => {
  const text = await readFile(join(unitFolder, 'layercache.sysusers.conf'), 'utf8');
  const line = text.split('\n').find((line) => line.startsWith('u ')) ?? '';
  // As on a machine that has no users yet.
  const root = `--root=${await temporaryFolder()}`;
  expect(await said('systemd-sysusers', '--dry-run', root, '--inline', line)).toContain(
    "Creating user 'layercache'",
  );
  for (const name of services) {
    const unit = await SystemdUnit.read(name);
    expect([unit.one('User'), unit.one('Group')]).toEqual(['layercache', 'layercache']);
  }
});

it('the timer starts the audit every night', async () => {
  const timer = await SystemdUnit.read('layercache-audit.timer');
  expect(timer.all('Unit')).toEqual([]); // The service of its own name.
  expect(await said('systemd-analyze', 'calendar', timer.one('OnCalendar'))).toMatch(
    /Next elapse: .* 03:30:00/,
  );
});

it.each(services)('%s names options that exist and credentials that it loads', async (name) => {
  const unit = await SystemdUnit.read(name);
  const { program } = unit;
  expect(unknownNames(program)).toEqual([]);
  const used = [...unit.text.matchAll(/%d\/([\w.-]+)/g)].map(([, credential]) => credential);
  expect(new Set(used)).toEqual(new Set(unit.credentials));
  if (program.command !== 'serve') return;
  const seconds = (text: string | undefined) => Number(/^(\d+)s$/.exec(text ?? '')?.[1]);
  expect(seconds(unit.one('TimeoutStopSec'))).toBeGreaterThan(
    seconds(program.env['LAYERCACHE_DRAIN_TIMEOUT']),
  );
  // Where everything else that is deployed looks for it.
  expect(portOf(program.env['LAYERCACHE_ADMIN'] ?? '')).toBe(
    portOf(imageEnvironment['LAYERCACHE_ADMIN'] ?? ''),
  );
});

describe('started as a unit says', () => {
  let tree: TemporaryTree;
  let redis: RedisServer;
  let authority: CertificateAuthority;
  let digest: string;
  beforeAll(async () => {
    const account = { username: 'default', password };
    [tree, redis, authority] = await Promise.all([
      TemporaryTree.create(),
      RedisServer.start({ args: ['--requirepass', password], account }),
      CertificateAuthority.create(),
    ]);
    digest = await pushLayer(tree, repository, Buffer.from('a layer'));
  });
  afterAll(() => Promise.all([tree.delete(), redis.stop(), authority.delete()]));

  /** The program of a unit, with what it loads as credentials in a folder like that of systemd. */
  async function relocatedProgram(
    unit: SystemdUnit,
    places: Readonly<Record<string, string>> = {},
  ): Promise<DeployedProgram> {
    const folder = await temporaryFolder();
    const own = await authority.issue({ names: ['DNS:localhost'] });
    const sources: Readonly<Record<string, string>> = { 'tls.pem': own.certFile, 'tls.key': own.keyFile };
    for (const name of unit.credentials) {
      const source = sources[name];
      if (source === undefined) await writeFile(join(folder, name), password);
      else await cp(source, join(folder, name));
    }
    return relocated(unit.program, {
      'file:///var/lib/registry': `file://${tree.root}`,
      'redis://127.0.0.1:6379': redis.url,
      ...(unit.credentials.length > 0 && { '%d': folder }),
      ...places,
    });
  }

  it('with TLS and several workers', async () => {
    const { args, env } = await relocatedProgram(await SystemdUnit.read('layercache.service'));
    const server = await startServer(args, { env });
    await server.readyz(200);
    const client = new LayerClient(server.listen, credentials.createSsl(authority.cert));
    onTestFinished(() => client.close());
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
    expect(server.log.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('at a socket', async () => {
    const unit = await SystemdUnit.read('layercache-sidecar.service');
    const runtime = await temporaryFolder();
    await mkdir(join(runtime, unit.one('RuntimeDirectory')));
    const { args, env } = await relocatedProgram(unit, { '%t': runtime });
    const server = await startServer(args, { env });
    await server.readyz(200);
    const client = new LayerClient(`unix:${runtime}/layercache/grpc.sock`);
    onTestFinished(() => client.close());
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
  });

  it('the audit forgets what is gone, and ends with what the unit calls a success', async () => {
    const unit = await SystemdUnit.read('layercache-audit.service');
    const client = await redis.client();
    await client.sadd(`repository::${repository}::blobs`, digest, `sha256:${'0'.repeat(64)}`);
    const { command, args, env } = await relocatedProgram(unit);
    const { code } = await run([command, ...args], { env });
    expect(String(code)).toBe(unit.one('SuccessExitStatus'));
    expect(await client.smembers(`repository::${repository}::blobs`)).toEqual([digest]);
  });

  it('makes only system calls that the units allow', { timeout: 60_000 }, async () => {
    const unit = await SystemdUnit.read('layercache.service');
    const allowed = await allowedSystemCalls(unit.all('SystemCallFilter'));
    expect(allowed.has('read') && !allowed.has('mount') && !allowed.has('setpriority')).toBe(true);
    const { command, args, env } = await relocatedProgram(unit);
    const ports = ['--listen=127.0.0.1:0', '--admin=127.0.0.1:0'];
    const traced = await systemCallsOf(
      [pinnedNode, bin, command, ...args, ...ports],
      { ...env, PATH: `${dirname(pinnedNode)}:${process.env['PATH']}` },
      async (listen) => {
        const client = new LayerClient(listen, credentials.createSsl(authority.cert));
        await client.exists(repository, digest);
        for await (const _ of client.fetch(repository, digest));
        client.close();
      },
    );
    expect(traced.size).toBeGreaterThan(30);
    expect([...traced].filter((call) => !allowed.has(call))).toEqual([]);
  });
});
