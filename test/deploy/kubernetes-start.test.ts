/** The server as the overlays of deploy/kubernetes start it, over real parts, until its probes are answered; and their audit. */
import { execFile } from 'node:child_process';
import { appendFile, cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { credentials } from '@grpc/grpc-js';
import type { IProbe, IService } from 'kubernetes-models/v1';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { HealthClient } from '../grpc/health-client.js';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { root } from '../parts/docs-pages.js';
import { freePort } from '../parts/free-port.js';
import { LayerClient } from '../parts/layer-client.js';
import type { LayercacheProcess } from '../parts/layercache-process.js';
import { OtlpCollector } from '../parts/otlp-collector.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RadosGateway } from '../parts/rados-gateway.js';
import { RedisServer } from '../parts/redis-server.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { deploy } from './deployed-files.js';
import { portOf, relocated, unknownNames } from './deployed-program.js';
import { imageEnvironment } from './image.js';
import { containerOf, present, programOf, RenderedOverlay, selects } from './rendered-overlay.js';

const repository = repositoryNamed('library/app');

/** What a probe is told by that server. */
async function answered({ httpGet, grpc }: IProbe, server: LayercacheProcess): Promise<number | string> {
  if (httpGet !== undefined) {
    expect(httpGet.port).toBe('admin');
    return (await fetch(`http://${server.admin}${httpGet.path}`)).status;
  }
  const { port, service } = present(grpc);
  expect(port).toBe(portOf(imageEnvironment['LAYERCACHE_LISTEN'] ?? ''));
  const client = new HealthClient(server.listen);
  onTestFinished(() => client.close());
  return client.check(service ?? '');
}

let tree: TemporaryTree;
let redis: RedisServer;
let collector: OtlpCollector;
let gateway: RadosGateway;
let bucketUrl: string;
let digest: string;
beforeAll(async () => {
  [tree, redis, collector, gateway] = await Promise.all([
    TemporaryTree.create(),
    RedisServer.start(),
    OtlpCollector.start(),
    RadosGateway.start(),
  ]);
  const bucket = await gateway.createBucket();
  bucketUrl = bucket.url('root', { region: gateway.region });
  const layer = Buffer.from('a layer');
  digest = await pushLayer(tree, repository, layer);
  await pushLayer({ put: (path, bytes) => bucket.put(`root${path}`, bytes) }, repository, layer);
});
afterAll(() => Promise.all([tree.delete(), redis.stop(), collector.close(), gateway.stop()]));

/** Starts it with these places, and has each probe answered. */
async function started(
  name: string,
  manifests: RenderedOverlay,
  places: Readonly<Record<string, string>>,
): Promise<LayercacheProcess> {
  const { args, env } = relocated(programOf(name, manifests), {
    'redis://redis:6379': redis.url,
    'http://otel-collector:4318': collector.httpEndpoint,
    ...places,
  });
  const server = await startServer(args, { env: { ...env, ...gateway.environment } });
  await server.readyz(200);
  const { startupProbe, readinessProbe, livenessProbe } = containerOf(manifests.server);
  const probes = [startupProbe, readinessProbe, livenessProbe].map(present);
  const answers = await Promise.all(probes.map((probe) => answered(probe, server)));
  expect(answers).toEqual([200, name === 'mtls' ? 200 : 'SERVING', 200]);
  return server;
}

it('over a volume', async () => {
  const manifests = await RenderedOverlay.render('file-volume');
  const server = await started('file-volume', manifests, {
    'file:///var/lib/registry': `file://${tree.root}`,
  });
  const mount = containerOf(manifests.server).volumeMounts?.[0]?.mountPath;
  expect(programOf('file-volume', manifests).env['LAYERCACHE_STORAGE']).toBe(`file://${mount}`);
  const client = new LayerClient(server.listen);
  onTestFinished(() => client.close());
  expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
});

it('over a bucket', async () => {
  const server = await started('s3', await RenderedOverlay.render('s3'), {
    's3://layers/root?region=eu-central-1': bucketUrl,
  });
  const client = new LayerClient(server.listen);
  onTestFinished(() => client.close());
  expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
});

it('with client certificates, of which its policy lets one in', async () => {
  const authority = await CertificateAuthority.create();
  onTestFinished(() => authority.delete());
  const [own, frontend, stranger] = await Promise.all([
    authority.issue({ names: ['DNS:localhost'] }),
    authority.issue({ names: ['DNS:frontend.registry.svc'] }),
    authority.issue({ names: ['DNS:stranger.registry.svc'] }),
  ]);
  const manifests = await RenderedOverlay.render('mtls');
  const server = await started('mtls', manifests, {
    's3://layers/root?region=eu-central-1': bucketUrl,
    '/etc/layercache/tls/tls.crt': own.certFile,
    '/etc/layercache/tls/tls.key': own.keyFile,
    '/etc/layercache/tls/ca.crt': authority.certFile,
    '/etc/layercache/policy/policy.json': join(deploy, 'kubernetes/overlays/mtls/policy.json'),
  });
  const mounted = (containerOf(manifests.server).volumeMounts ?? []).map(({ mountPath }) => mountPath);
  expect(mounted).toEqual(['/etc/layercache/tls', '/etc/layercache/policy']);
  const clientWith = ({ key, cert }: { key: Buffer; cert: Buffer }) => {
    const client = new LayerClient(server.listen, credentials.createSsl(authority.cert, key, cert));
    onTestFinished(() => client.close());
    return client;
  };
  expect(await clientWith(frontend).exists(repository, digest)).toMatchObject({ exists: true });
  await expect(clientWith(stranger).exists(repository, digest)).rejects.toThrow('PERMISSION_DENIED');
});

it('with the component for notifications, which takes them with the token', async () => {
  const copy = await mkdtemp(join(tmpdir(), 'layercache-overlay-'));
  onTestFinished(() => rm(copy, { recursive: true }));
  await cp(join(deploy, 'kubernetes'), copy, { recursive: true });
  const kustomization = join(copy, 'overlays', 'file-volume', 'kustomization.yaml');
  await appendFile(kustomization, 'components: [../../components/notifications]\n');
  const manifests = await RenderedOverlay.renderFolder(dirname(kustomization));
  const { env } = programOf('file-volume', manifests);
  const [events] = (containerOf(manifests.server).ports ?? []).filter(({ name }) => name === 'events');
  expect(events?.containerPort).toBe(portOf(env['LAYERCACHE_NOTIFICATIONS'] ?? ''));
  const services = manifests.objects.filter(({ kind }) => kind === 'Service') as IService[];
  const service = services.find(({ metadata }) => metadata?.name === 'layercache-events')?.spec;
  expect(service?.ports).toMatchObject([{ port: events?.containerPort, targetPort: 'events' }]);
  expect(selects(service?.selector, manifests.server.metadata?.labels)).toBe(true);
  const ingress = manifests.one('NetworkPolicy').spec?.ingress ?? [];
  expect(ingress.at(-1)).toMatchObject({ ports: [{ port: 'events' }] });

  const tokenFile = join(copy, 'token');
  await writeFile(tokenFile, 'right');
  const port = await freePort();
  await started('file-volume', manifests, {
    'file:///var/lib/registry': `file://${tree.root}`,
    '0.0.0.0:5011': `127.0.0.1:${port}`,
    '/etc/layercache/notifications/token': tokenFile,
  });
  const post = async (token: string) => {
    const response = await fetch(`http://127.0.0.1:${port}/events`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/vnd.docker.distribution.events.v1+json',
      },
      body: JSON.stringify({ events: [] }),
    });
    return response.status;
  };
  expect([await post('right'), await post('wrong')]).toEqual([200, 401]);
});

it('the audit forgets what is gone, ends well, and fails only for a failure', async () => {
  const manifests = await RenderedOverlay.render('file-volume');
  const container = containerOf(manifests.audit);
  const [shell = '', flag = '', script = '', ...more] = container.command ?? [];
  expect([shell, flag, more]).toEqual(['sh', '-c', []]);
  const [, command = '', options = ''] =
    /^node bin\/layercache\.cjs (\w+) (.+) \|\| test \$\? = 1$/.exec(script) ?? [];
  const file = 'kubernetes/base/audit.yaml';
  const program = { file, command, args: options.split(' '), env: manifests.environment(container) };
  expect(unknownNames(program)).toEqual([]);
  const { env } = relocated(program, {
    'redis://redis:6379': redis.url,
    'file:///var/lib/registry': `file://${tree.root}`,
  });
  const client = await redis.client();
  const key = `repository::${repository}::blobs`;
  const gone = `sha256:${'0'.repeat(64)}`;
  await client.sadd(key, digest, gone);
  const audit = (more: NodeJS.ProcessEnv = {}) =>
    promisify(execFile)(shell, [flag, script], {
      cwd: root,
      env: { ...env, PATH: `${dirname(pinnedNode)}:${process.env['PATH']}`, ...more },
    });
  expect((await audit()).stdout).toContain('fixed 1');
  expect(await client.smembers(key)).toEqual([digest]);
  await expect(audit({ LAYERCACHE_STORAGE: 'file:///nowhere' })).rejects.toMatchObject({ code: 1 });
});
