/** The program with a secret in everything that can hold one: none comes out again. */
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { OtlpCollector } from '../parts/otlp-collector.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { issuer, service, TokenIssuer, tampered } from '../parts/token-issuer.js';

const repository = repositoryNamed('library/demo');

let tree: TemporaryTree;
let authority: CertificateAuthority;
let collector: OtlpCollector;
let folder: string;
beforeAll(async () => {
  [tree, authority, collector] = await Promise.all([
    TemporaryTree.create(),
    CertificateAuthority.create(),
    OtlpCollector.start(),
  ]);
  folder = await mkdtemp(join(tmpdir(), 'layercache-secrets-'));
});
afterAll(() =>
  Promise.all([
    tree.delete(),
    authority.delete(),
    collector.close(),
    rm(folder, { recursive: true, force: true }),
  ]),
);

/** Everything of the process that somebody may read. */
async function told(server: LayercacheProcess): Promise<string> {
  const pages = ['/metrics', '/debug/vars', '/readyz', '/healthz', '/nothing?hunter2'];
  const answers = pages.map(async (page) => (await fetch(`http://${server.admin}${page}`)).text());
  const exported = [collector.spans, collector.metrics];
  return JSON.stringify([server.log, server.stderr, await Promise.all(answers), exported]);
}

it('with TLS, tokens, a Redis and a key set that fail, and a trace of each call', async () => {
  const redis = await RedisServer.start({ args: ['--requirepass', 'another'] });
  onTestFinished(() => redis.stop());
  const own = await authority.issue({ names: ['DNS:localhost'] });
  const keyFile = join(folder, 'tls.key');
  await copyFile(own.keyFile, keyFile);
  const digest = await pushLayer(tree, repository, Buffer.from('a layer'));
  const server = await LayercacheProcess.start(
    [
      `--storage=file://${tree.root}`,
      '--log-level=trace',
      `--tls-cert=${own.certFile}`,
      `--tls-key=${keyFile}`,
      '--auth=jwt',
      `--auth-issuer=${issuer}`,
      `--auth-service=${service}`,
      `--auth-rootcertbundle=${authority.certFile}`,
    ],
    {
      env: {
        LAYERCACHE_CACHE: `redis://hunter2-user:hunter2-redis@127.0.0.1:${redis.port}/0`,
        LAYERCACHE_AUTH_JWKS: 'http://127.0.0.1:1/hunter2-path?key=hunter2-jwks',
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20hunter2-otlp',
        OTEL_TRACES_SAMPLER: 'always_on',
        OTEL_BSP_SCHEDULE_DELAY: '50',
        OTEL_METRIC_EXPORT_INTERVAL: '200',
        OTEL_METRIC_EXPORT_TIMEOUT: '100',
      },
    },
  );
  onTestFinished(() => server.stop());
  const client = new LayerClient(server.listen, credentials.createSsl(authority.cert));
  onTestFinished(() => client.close());

  const tokens = new TokenIssuer(own);
  const pull = [{ type: 'repository', name: repository, actions: ['pull'] }];
  const good = tokens.issue(pull);
  const sent = [
    good,
    tampered(good),
    tokens.issue([]),
    tokens.issue(pull, { exp: 1 }),
    tokens.issue(pull, { iss: 'hunter2-issuer' }),
    tokens.issue(pull, {}, { kid: 'hunter2-kid' }),
    'hunter2-token',
  ];
  const answers: string[] = [];
  for (const token of sent) {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    const answer: unknown = await client
      .stat(repository, digest, undefined, metadata)
      .catch((error: Error & { metadata: Metadata }) => [error.message, error.metadata.toJSON()]);
    answers.push(
      JSON.stringify(answer, (_, value) => (typeof value === 'bigint' ? String(value) : value)),
      // Details are bytes.
      JSON.stringify(answer, (_, value) =>
        value?.type === 'Buffer'
          ? Buffer.from(value.data).toString('latin1')
          : typeof value === 'bigint'
            ? String(value)
            : value,
      ),
    );
  }
  expect(answers[0]).toContain('"length":"7"');
  await writeFile(keyFile, `hunter2-key\n${own.key}`.replace('BEGIN', 'BEGUN'));
  await server.logged((line) => JSON.stringify(line['options'] ?? '').includes('--tls-key'));
  await collector.until(({ spans, metrics }) => spans.length >= sent.length && metrics.length > 0);

  const all = (await told(server)) + answers.join();
  // It was said that each of them failed.
  for (const trouble of [
    'no connection to the cache',
    'key set of --auth-jwks',
    'TOKEN_INVALID',
    'SCOPE_MISSING',
  ])
    expect(all).toContain(trouble);
  expect(all.match(/hunter2/g)).toBeNull();
  const keyLines = own.key
    .toString()
    .split('\n')
    .filter((line) => line.length > 20 && !line.startsWith('-'));
  expect(keyLines.length).toBeGreaterThan(0);
  const parts = sent.flatMap((token) => token.split('.')).filter((part) => part.length > 20);
  expect([...keyLines, ...parts].filter((secret) => all.includes(secret))).toEqual([]);
});

it('with keys of an object store that does not answer, and a driver of its own that fails', async () => {
  const driver = join(folder, 'driver.mjs');
  const fail = "() => Promise.reject(new Error('it cannot be reached'))";
  await writeFile(
    driver,
    `export default () => ({ name: 'failing', open: ${fail}, stat: ${fail}, readSmall: ${fail}, redirectUrl: ${fail}, check: ${fail}, close: async () => {} });`,
  );
  for (const storage of [
    's3://bucket/prefix?region=us-east-1&endpoint=http://127.0.0.1:1&path-style=true',
    `module:${driver}?access=hunter2-access&secret=hunter2-secret`,
  ]) {
    const server = await LayercacheProcess.start([`--storage=${storage}`, '--log-level=trace'], {
      env: {
        AWS_ACCESS_KEY_ID: 'hunter2-id',
        AWS_SECRET_ACCESS_KEY: 'hunter2-secret',
        AWS_SESSION_TOKEN: 'hunter2-session',
      },
    });
    onTestFinished(() => server.stop());
    await server.logged((line) => line['level'] === 'warn');
    const client = new LayerClient(server.listen);
    onTestFinished(() => client.close());
    const error = await client.exists(repository, `sha256:${'a'.repeat(64)}`).catch((error: Error) => error);
    expect(error).toMatchObject({ code: 14 });
    expect(`${await told(server)}${JSON.stringify(error)}`.match(/hunter2/g)).toBeNull();
  }
});
