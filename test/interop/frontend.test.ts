/** `examples/frontend/`: what docker's clients and HTTP's rules make of it, before a real registry. */
import { randomBytes } from 'node:crypto';
import { readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRange } from '../../examples/frontend/byte-range.js';
import { parseDigest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { FrontendProcess } from '../parts/frontend-process.js';
import { imageClients, pullImage, pushTars } from '../parts/image-clients.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

let tree: TemporaryTree;
let redis: RedisServer;
let registry: DockerRegistry;
let server: LayercacheProcess;
let frontend: FrontendProcess;
beforeAll(async () => {
  [tree, redis] = await Promise.all([TemporaryTree.create(), RedisServer.start()]);
  registry = await DockerRegistry.start({ root: tree.root });
  server = await LayercacheProcess.start([
    `--storage=file://${tree.root}`,
    `--cache=redis://127.0.0.1:${redis.port}`,
  ]);
  frontend = await FrontendProcess.start(registry.url, server.listen);
});
afterAll(async () => {
  await frontend.stop();
  await server.stop();
  await Promise.all([registry.stop(), redis.stop()]);
  await tree.delete();
});

/** Where the clients find the repository. */
function imageAt(repository: string, at: FrontendProcess = frontend): string {
  return `${at.address}/${repository}`;
}

function blobUrl(repository: string, digest: string): string {
  return `http://${frontend.address}/v2/${repository}/blobs/${digest}`;
}

/** Hits of Fetch so far. */
async function fetches(): Promise<number> {
  const metrics = await (await fetch(`http://${server.admin}/metrics`)).text();
  const counts = metrics.matchAll(/^layercache_requests_total\{operation="fetch",result="\w+"\} (\d+)/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function corrupt(digest: string): Promise<void> {
  const parsed = parseDigest(digest);
  if (parsed === undefined) throw new Error('the test is wrong');
  const path = join(tree.root, blobPath(parsed));
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
  await tree.put(blobPath(parsed), bytes);
}

describe.each(imageClients)('%s pulls through it', (by) => {
  const contents = [randomBytes(3 << 20), randomBytes(1000)];

  it('an image whose every blob comes from layercache, and again with the cache warm', async () => {
    const repository = `${by}/app`;
    await pushTars(registry, repository, contents);
    for (let time = 0; time < 2; time += 1) {
      const before = await fetches();
      expect(await pullImage(by, imageAt(repository))).toEqual(contents);
      // The layers and the config.
      expect(await fetches()).toBe(before + 3);
    }
  });

  it('before, during and after a garbage collection', async () => {
    const [kept, dropped] = [`${by}/kept`, `${by}/dropped`];
    const content = [randomBytes(2 << 20)];
    await pushTars(registry, kept, content);
    const image = await pushTars(registry, dropped, [randomBytes(1 << 20)]);
    await Promise.all([pullImage(by, imageAt(kept)), pullImage(by, imageAt(dropped))]);
    await registry.deleteManifest(dropped, image.manifest);
    const collecting = registry.collectGarbage();
    let isOver = false;
    collecting.finally(() => {
      isOver = true;
    });
    do expect(await pullImage(by, imageAt(kept))).toEqual(content);
    while (!isOver);
    await collecting;
    const [gone = ''] = image.layers;
    // A push asks this; a cached yes would make it skip an upload that is needed.
    expect((await fetch(blobUrl(dropped, gone), { method: 'HEAD' })).status).toBe(404);
    expect((await fetch(blobUrl(dropped, gone))).status).toBe(404);
    await expect(pullImage(by, imageAt(dropped))).rejects.toThrow('manifest unknown');
    expect(await pullImage(by, imageAt(kept))).toEqual(content);
  });

  it('no corrupt layer, which never ends well', async () => {
    const repository = `${by}/corrupt`;
    const image = await pushTars(registry, repository, [randomBytes(2 << 20)]);
    const [digest = ''] = image.layers;
    await corrupt(digest);
    const url = blobUrl(repository, digest);
    // Found while it is sent, then known.
    await expect(fetch(url).then((response) => response.arrayBuffer())).rejects.toThrow();
    expect(await fetch(url)).toMatchObject({ status: 500 });
    expect(await fetch(url, { headers: { range: 'bytes=5-9' } })).toMatchObject({ status: 500 });
    await expect(pullImage(by, imageAt(repository))).rejects.toThrow('500');
    const other = await pushTars(registry, repository, [randomBytes(2 << 20)]);
    await corrupt(other.layers[0] ?? '');
    await expect(pullImage(by, imageAt(repository))).rejects.toThrow(/500|EOF|reset/);
  });

  it('with Redis killed', async () => {
    const repository = `${by}/redis`;
    const own = await RedisServer.start();
    const cached = await LayercacheProcess.start([
      `--storage=file://${tree.root}`,
      `--cache=redis://127.0.0.1:${own.port}`,
    ]);
    const beside = await FrontendProcess.start(registry.url, cached.listen);
    try {
      await pushTars(registry, repository, contents);
      await pullImage(by, imageAt(repository, beside));
      await own.kill();
      expect(await pullImage(by, imageAt(repository, beside))).toEqual(contents);
    } finally {
      await beside.stop();
      await cached.stop();
      await own.stop();
    }
  });

  it('with layercache itself gone: the registry answers', async () => {
    const repository = `${by}/lonely`;
    const lonely = await FrontendProcess.start(registry.url, '127.0.0.1:1');
    try {
      await pushTars(registry, repository, contents);
      expect(await pullImage(by, imageAt(repository, lonely))).toEqual(contents);
    } finally {
      await lonely.stop();
    }
  });
});

describe('over HTTP', () => {
  const bytes = randomBytes(100_000);
  let url: string;
  let digest: string;
  beforeAll(async () => {
    digest = await registry.push('library/http', bytes);
    url = blobUrl('library/http', digest);
  });

  async function get(headers: Record<string, string>) {
    const response = await fetch(url, { headers });
    const body = Buffer.from(await response.arrayBuffer());
    return { status: response.status, range: response.headers.get('content-range'), body };
  }

  it('HEAD and GET tell length, digest and that ranges are taken', async () => {
    for (const method of ['HEAD', 'GET']) {
      const response = await fetch(url, { method });
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'accept-ranges': 'bytes',
        'content-length': '100000',
        'docker-content-digest': digest,
        etag: `"${digest}"`,
      });
      expect(
        Buffer.from(await response.arrayBuffer()).equals(method === 'GET' ? bytes : Buffer.alloc(0)),
      ).toBe(true);
    }
  });

  it.each([
    ['bytes=10-19', 10, 20],
    ['bytes=99990-', 99_990, 100_000],
    ['bytes=-5', 99_995, 100_000],
    ['bytes=99990-200000', 99_990, 100_000],
  ])('RFC 9110, 14.2: %s', async (range, from, to) => {
    expect(await get({ range })).toEqual({
      status: 206,
      range: `bytes ${from}-${to - 1}/100000`,
      body: bytes.subarray(from, to),
    });
  });

  it('RFC 9110, 14.2: several ranges, other units and nonsense are ignored, beyond the end is 416', async () => {
    for (const range of ['bytes=0-1,5-6', 'lines=1-2', 'bytes=5-1', 'bytes=-'])
      expect(await get({ range })).toMatchObject({ status: 200 });
    expect(await get({ range: 'bytes=100000-' })).toMatchObject({ status: 416, range: 'bytes */100000' });
    expect(parseRange('bytes=-0', 10)).toBe('unsatisfiable');
  });

  it('RFC 9110, 13: If-None-Match is 304, If-Range with another tag is the whole', async () => {
    expect(await get({ 'if-none-match': `"${digest}"` })).toMatchObject({ status: 304 });
    expect(await get({ 'if-none-match': '"other"' })).toMatchObject({ status: 200 });
    expect(await get({ range: 'bytes=0-0', 'if-range': '"other"' })).toMatchObject({ status: 200 });
    expect(await get({ range: 'bytes=0-0', 'if-range': `"${digest}"` })).toMatchObject({ status: 206 });
  });

  it('a body that was begun goes on when layercache is killed and started anew', async () => {
    const long = randomBytes(48 << 20);
    const args = ['--cache=memory:', `--storage=file://${tree.root}`];
    const first = await LayercacheProcess.start(args);
    const beside = await FrontendProcess.start(registry.url, first.listen);
    let second: LayercacheProcess | undefined;
    try {
      const pushed = await registry.push('library/resumed', long);
      const response = await fetch(`http://${beside.address}/v2/library/resumed/blobs/${pushed}`);
      const received: Uint8Array[] = [];
      // A loop that breaks would end the body.
      for await (const chunk of response.body ?? []) {
        received.push(chunk);
        if (second !== undefined) continue;
        await first.stop();
        second = await LayercacheProcess.start([...args, `--listen=${first.listen}`]);
      }
      expect(Buffer.concat(received).equals(long)).toBe(true);
      expect((await second?.logged((line) => line['rpc'] === 'Fetch'))?.['code']).toBe('OK');
    } finally {
      await beside.stop();
      await first.stop();
      await second?.stop();
    }
  });

  it('a body that becomes too short on disk while it is sent does not end well', async () => {
    const pushed = await registry.push('library/short', randomBytes(48 << 20));
    const parsed = parseDigest(pushed);
    if (parsed === undefined) throw new Error('the test is wrong');
    const response = await fetch(blobUrl('library/short', pushed));
    expect(response).toMatchObject({ status: 200 });
    // Beyond what the buffers in between hold.
    await truncate(join(tree.root, blobPath(parsed)), 40 << 20);
    await expect(response.arrayBuffer()).rejects.toThrow();
    // What is left of it is of the length that the storage tells, and hashes wrong.
    await expect(
      fetch(blobUrl('library/short', pushed)).then((again) => again.arrayBuffer()),
    ).rejects.toThrow();
    expect(await fetch(blobUrl('library/short', pushed))).toMatchObject({ status: 500 });
  });

  it('a push goes through to the registry, and what is deleted there is forgotten', async () => {
    const uploads = `http://${frontend.address}/v2/library/pushed/blobs/uploads/`;
    const begun = await fetch(uploads, { method: 'POST' });
    expect(begun.status).toBe(202);
    const location = new URL(begun.headers.get('location') ?? '', uploads);
    expect(location.host).toBe(frontend.address);
    location.searchParams.set('digest', digest);
    const headers = { 'content-type': 'application/octet-stream' };
    expect((await fetch(location, { method: 'PUT', body: bytes, headers })).status).toBe(201);
    const pushed = blobUrl('library/pushed', digest);
    expect((await fetch(pushed, { method: 'HEAD' })).status).toBe(200);
    expect((await fetch(pushed, { method: 'DELETE' })).status).toBe(202);
    expect((await fetch(pushed)).status).toBe(404);
  });
});
