/** `examples/frontend/ --redirect` before a registry on S3: clients fetch blobs from the object store itself. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DockerRegistry } from '../parts/docker-registry.js';
import { FrontendProcess } from '../parts/frontend-process.js';
import { imageClients, pullImage, pushTars } from '../parts/image-clients.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { type Bucket, RadosGateway } from '../parts/rados-gateway.js';

let gateway: RadosGateway;
let bucket: Bucket;
let registry: DockerRegistry;
let server: LayercacheProcess;
let frontend: FrontendProcess;
beforeAll(async () => {
  gateway = await RadosGateway.start();
  bucket = await gateway.createBucket();
  registry = await DockerRegistry.start({
    root: {
      accesskey: gateway.credentials.accessKeyId,
      secretkey: gateway.credentials.secretAccessKey,
      region: gateway.region,
      regionendpoint: gateway.endpoint,
      bucket: bucket.name,
      secure: false,
      v4auth: true,
      encrypt: false,
      rootdirectory: '/root',
    },
  });
  server = await LayercacheProcess.start([`--storage=${bucket.url('root')}`, '--cache=memory:'], {
    env: gateway.environment,
  });
  frontend = await FrontendProcess.start(registry.url, server.listen, ['--redirect']);
});
afterAll(async () => {
  await frontend?.stop();
  await server?.stop();
  await registry?.stop();
  await gateway?.stop();
});

it('a blob is 307 to a signed URL, which takes ranges; what is conditional or HEAD is answered here', async () => {
  const bytes = randomBytes(100_000);
  const digest = await registry.push('library/http', bytes);
  const url = `http://${frontend.address}/v2/library/http/blobs/${digest}`;
  for (const headers of [undefined, { range: 'bytes=100-199' }]) {
    const sent = await fetch(url, { redirect: 'manual', ...(headers && { headers }) });
    expect(sent.status).toBe(307);
    expect(sent.headers.get('docker-content-digest')).toBe(digest);
    const location = new URL(sent.headers.get('location') ?? '');
    expect(location.origin).toBe(gateway.endpoint);
    expect(location.searchParams.get('X-Amz-Signature')).toMatch(/^[0-9a-f]{64}$/);
  }
  // Followed, as clients do it.
  const whole = await fetch(url);
  expect(Buffer.from(await whole.arrayBuffer()).equals(bytes)).toBe(true);
  const part = await fetch(url, { headers: { range: 'bytes=100-199' } });
  expect(part.status).toBe(206);
  expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(100, 200))).toBe(true);
  const head = await fetch(url, { method: 'HEAD', redirect: 'manual' });
  expect([head.status, head.headers.get('content-length')]).toEqual([200, '100000']);
  const known = await fetch(url, { headers: { 'if-none-match': `"${digest}"` }, redirect: 'manual' });
  expect(known.status).toBe(304);
  const beyond = await fetch(url, { headers: { range: 'bytes=100000-' }, redirect: 'manual' });
  expect(beyond.status).toBe(416);
});

it.each(imageClients)('%s pulls by the signed URLs', async (by) => {
  const contents = [randomBytes(3 << 20), randomBytes(1000)];
  await pushTars(registry, `${by}/app`, contents);
  expect(await pullImage(by, `${frontend.address}/${by}/app`)).toEqual(contents);
  const told = await server.logged((line) => line['rpc'] === 'Fetch' && line['repository'] === `${by}/app`);
  expect(told).toMatchObject({ code: 'OK' });
  const metrics = await (await fetch(`http://${server.admin}/metrics`)).text();
  // Not one byte passed through here.
  expect(metrics).toMatch(/^layercache_fetch_bytes_total 0$/m);
});
