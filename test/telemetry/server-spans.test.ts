/** The whole server, its telemetry exported for real: what a collector sees of each call. */
import { credentials, Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { resolveConfig } from '../../src/cli/options.js';
import { LayerCacheServiceClient, RedirectPolicy } from '../../src/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../../src/reference/digest.js';
import { type Server, startServer } from '../../src/server/server.js';
import { LogLines } from '../parts/log-lines.js';
import { OtlpCollector } from '../parts/otlp-collector.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const callerSpanId = 'b7ad6b7169203331';
const service = 'layercache.v1.LayerCacheService';
const repository = repositoryNamed('team/app');

let tree: TemporaryTree;
let digest: Digest;
let collector: OtlpCollector;
let app: Server;
let client: LayerCacheServiceClient;
let metadata: Metadata;
let lines: LogLines;

beforeEach(async () => {
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repository, Buffer.alloc(100_000, 7));
  collector = await OtlpCollector.start();
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', collector.httpEndpoint);
  lines = new LogLines();
  const config = resolveConfig(
    { storage: `file://${tree.root}`, listen: '127.0.0.1:0', admin: '127.0.0.1:0' },
    {},
  );
  app = await startServer(config, { log: lines.log, version: '1.2.3', droppedLines: () => 0 });
  client = new LayerCacheServiceClient(app.listen, credentials.createInsecure());
  metadata = new Metadata();
  metadata.set('traceparent', `00-${traceId}-${callerSpanId}-01`);
});

afterEach(async () => {
  client.close();
  await app.drain();
  await collector.close();
  await tree.delete();
  vi.unstubAllEnvs();
});

function exists(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    client.exists({ repository, digest, maxAge: undefined }, metadata, (error, response) =>
      error === null ? resolve(response.exists) : reject(error),
    );
  });
}

async function fetched(): Promise<number> {
  let bytes = 0;
  const request = {
    repository,
    digest,
    offset: 0n,
    limit: 0n,
    chunkSize: 0,
    redirect: RedirectPolicy.REDIRECT_POLICY_UNSPECIFIED,
    maxAge: undefined,
  };
  for await (const { part } of client.fetch(request, metadata)) {
    if (part?.$case === 'chunk') bytes += part.value.length;
  }
  return bytes;
}

/** Names of the spans below each server span, in the order in which the calls arrived. */
function trees(): [call: string, children: string[]][] {
  return collector.spans
    .filter(({ kind }) => kind === 2)
    .map(({ name, spanId }) => [
      name,
      collector.spans
        .filter(({ parentSpanId }) => parentSpanId === spanId)
        .map((child) => child.name)
        .sort(),
    ]);
}

it('a span tree per call: a miss asks cache and storage, a hit the cache alone, a Fetch opens once', async () => {
  expect(await exists()).toBe(true);
  expect(await exists()).toBe(true);
  expect(await fetched()).toBe(100_000);
  await app.drain();

  expect(trees()).toEqual([
    [
      `${service}/Exists`,
      expect.arrayContaining(['cache.contains', 'cache.record', 'storage.read_small', 'storage.stat']),
    ],
    [`${service}/Exists`, ['cache.contains']],
    [`${service}/Fetch`, ['cache.lookup', 'storage.open']],
  ]);
  for (const span of collector.spans) expect(span.traceId).toBe(traceId);
  for (const server of collector.spans.filter(({ kind }) => kind === 2)) {
    expect(server).toMatchObject({ parentSpanId: callerSpanId, status: 0 });
    expect(server.attributes['rpc.status_code']).toBe('OK');
    expect(lines.lines).toContainEqual(
      expect.objectContaining({ trace_id: traceId, span_id: server.spanId, repository, digest, code: 'OK' }),
    );
  }
  const sent = collector.metrics.find(({ name }) => name === 'layercache.fetch.bytes');
  expect(sent?.points.map(({ value }) => value)).toEqual([100_000]);
});
