/** `layercache/client` against the real server, and the same server behind TLS and tokens. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  LayerCacheClient,
  type LayerCacheClientOptions,
  LayerCacheError,
} from '../../src/client/layer-cache-client.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { startServer } from '../parts/server-of-test.js';
import { TcpProxy } from '../parts/tcp-proxy.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { issuer, service, TokenIssuer } from '../parts/token-issuer.js';

const repository = repositoryNamed('library/app');
const unknown = `sha256:${'0'.repeat(64)}`;
const large = randomBytes(12 << 20);

let tree: TemporaryTree;
let server: LayercacheProcess;
let small: Digest;
let big: Digest;
beforeAll(async () => {
  tree = await TemporaryTree.create();
  small = await pushLayer(tree, repository, Buffer.from('a layer'));
  big = await pushLayer(tree, repository, large);
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`]);
});
afterAll(async () => {
  await server.stop();
  await tree.delete();
});

function connect(options: Partial<LayerCacheClientOptions> = {}): LayerCacheClient {
  const client = new LayerCacheClient({ address: server.listen, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** What the promise rejects with; fails when it resolves. */
async function failure(promise: Promise<unknown>): Promise<LayerCacheError> {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(LayerCacheError);
  return error as LayerCacheError;
}

async function bytesOf(layer: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of layer) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('every RPC is a promise', () => {
  it('Exists, Stat, FindMissing, Contains, Add, GetMeta, SetMeta, Remove', async () => {
    const client = connect();
    const bytes = Buffer.from('of this test alone');
    const digest = await pushLayer(tree, repository, bytes);
    expect(await client.contains(repository, digest)).toBe(false);
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: 'upstream' });
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: 'cache' });
    expect(await client.exists(repository, digest, { maxAgeMs: 0 })).toMatchObject({ source: 'upstream' });
    expect(await client.stat(repository, digest)).toEqual({
      digest,
      length: bytes.length,
      source: 'cache',
    });
    expect(await client.findMissing(repository, [unknown, digest, unknown])).toEqual([unknown]);
    const meta = { path: blobPath(digest), length: bytes.length };
    expect(await client.getMeta(digest)).toEqual(meta);
    await client.remove(repository, digest);
    expect(await client.contains(repository, digest)).toBe(false);
    expect(await failure(client.getMeta(digest))).toMatchObject({
      code: 'NOT_FOUND',
      reason: 'META_UNKNOWN',
    });
    await client.setMeta(digest, meta);
    await client.add(repository, digest);
    expect(await client.contains(repository, digest)).toBe(true);
  });

  it('more digests than one FindMissing takes are asked in turns', async () => {
    const digests = Array.from({ length: 2345 }, (_, n) => `sha256:${String(n).padStart(64, '0')}`);
    digests.splice(1500, 0, small);
    const missing = await connect().findMissing(repository, digests);
    expect(missing).toEqual(digests.filter((digest) => digest !== small));
  });
});

describe('errors say how, why and where', () => {
  it('reason and field of bad input', async () => {
    expect(await failure(connect().exists(repository, 'sha256:42'))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      reason: 'DIGEST_INVALID',
      field: 'digest',
      message: expect.not.stringContaining('INVALID_ARGUMENT'),
    });
  });

  it('the retry delay of a transient fault, and the digest it is about', async () => {
    const lost = await TemporaryTree.create();
    await lost.delete();
    const without = await startServer([`--storage=file://${lost.root}`]);
    const client = connect({ address: without.listen, maxAttempts: 1 });
    expect(await failure(client.findMissing(repository, [small]))).toMatchObject({
      code: 'UNAVAILABLE',
      reason: 'STORAGE_UNAVAILABLE',
      retryDelayMs: 1000,
      info: { digest: small },
    });
  });

  it('nobody there is UNAVAILABLE without a reason, within the deadline', async () => {
    const client = connect({ address: '127.0.0.1:1', timeoutMs: 5000 });
    const error = await failure(client.exists(repository, small));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', reason: undefined });
  });

  it('a signal that was aborted rejects with its reason, before and during the call', async () => {
    const reason = new Error('changed my mind');
    const signal = AbortSignal.abort(reason);
    await expect(connect().exists(repository, small, { signal })).rejects.toBe(reason);
    await expect(connect().fetch(repository, small, { signal })).rejects.toBe(reason);
    const proxy = await TcpProxy.start(Number(server.listen.split(':')[1]));
    onTestFinished(() => proxy.stop());
    const held = new AbortController();
    proxy.onConnection = (connection) => connection.freeze();
    const call = connect({ address: `127.0.0.1:${proxy.port}` }).exists(repository, small, {
      signal: held.signal,
    });
    held.abort(reason);
    await expect(call).rejects.toBe(reason);
  });

  it('a server that says nothing is DEADLINE_EXCEEDED', async () => {
    const proxy = await TcpProxy.start(Number(server.listen.split(':')[1]));
    onTestFinished(() => proxy.stop());
    proxy.onConnection = (connection) => connection.freeze();
    const client = connect({ address: `127.0.0.1:${proxy.port}`, timeoutMs: 200 });
    expect(await failure(client.exists(repository, small))).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(await failure(client.fetch(repository, small))).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });
});

describe('fetch', () => {
  it('tells the header first, then the bytes', async () => {
    const layer = await connect().fetch(repository, big);
    expect(layer).toMatchObject({ digest: big, length: large.length, offset: 0, remaining: large.length });
    expect((await bytesOf(layer)).equals(large)).toBe(true);
    await expect(bytesOf(layer)).rejects.toThrow('has been read already');
  });

  it('ranges, the empty one at the end, and beyond it', async () => {
    const client = connect();
    const middle = await client.fetch(repository, big, { offset: 5_000_000, limit: 1_000_000 });
    expect((await bytesOf(middle)).equals(large.subarray(5_000_000, 6_000_000))).toBe(true);
    const cut = await client.fetch(repository, small, { offset: 2, limit: 1000 });
    expect(cut.remaining).toBe(5);
    expect((await bytesOf(cut)).toString()).toBe('layer');
    expect(await bytesOf(await client.fetch(repository, small, { offset: 7 }))).toHaveLength(0);
    expect(await failure(client.fetch(repository, small, { offset: 8 }))).toMatchObject({
      code: 'OUT_OF_RANGE',
      reason: 'OFFSET_BEYOND_END',
    });
    expect(await failure(client.fetch(repository, unknown))).toMatchObject({ reason: 'LAYER_UNKNOWN' });
  });

  it('resumes at its offset when connections break, however often, and still verifies', async () => {
    const proxy = await TcpProxy.start(Number(server.listen.split(':')[1]));
    onTestFinished(() => proxy.stop());
    const layer = await connect({ address: `127.0.0.1:${proxy.port}` }).fetch(repository, big);
    const hash = createHash('sha256');
    let received = 0;
    let cutAt = 2 << 20;
    for await (const chunk of layer) {
      hash.update(chunk);
      received += chunk.length;
      if (received < cutAt) continue;
      cutAt += 3 << 20;
      proxy.connections.at(-1)?.destroy();
    }
    expect(received).toBe(large.length);
    expect(`sha256:${hash.digest('hex')}`).toBe(big);
    expect(proxy.connections.length).toBeGreaterThanOrEqual(4);
  });

  it('resumes on another replica when the first hangs', async () => {
    const second = await startServer([`--storage=file://${tree.root}`]);
    const proxy = await TcpProxy.start(Number(server.listen.split(':')[1]));
    onTestFinished(() => proxy.stop());
    const address = [`127.0.0.1:${proxy.port}`, second.listen];
    const client = connect({ address });
    const began = [];
    // Round robin: of two streams one is the first replica's.
    for (let n = 0; n < 2; n += 1) began.push(await client.fetch(repository, big, { idleTimeoutMs: 300 }));
    for (const connection of proxy.connections) connection.freeze();
    for (const layer of began) expect((await bytesOf(layer)).equals(large)).toBe(true);
  });

  it('gives up once the layer is gone, with the reason', async () => {
    const bytes = randomBytes(8 << 20);
    const digest = await pushLayer(tree, repository, bytes);
    const proxy = await TcpProxy.start(Number(server.listen.split(':')[1]));
    onTestFinished(() => proxy.stop());
    const layer = await connect({ address: `127.0.0.1:${proxy.port}` }).fetch(repository, digest);
    await tree.remove(linkPath(repository, digest));
    await tree.remove(blobPath(digest));
    const reading = async () => {
      for await (const _ of layer) proxy.connections.at(-1)?.destroy();
    };
    expect(await failure(reading())).toMatchObject({ code: 'NOT_FOUND', reason: 'LAYER_UNKNOWN' });
  });

  it('an aborted signal ends the iteration with its reason, and leaving it ends the stream', async () => {
    const aborter = new AbortController();
    const reason = new Error('enough');
    const client = connect();
    const layer = await client.fetch(repository, big, { signal: aborter.signal });
    const reading = async () => {
      for await (const _ of layer) aborter.abort(reason);
    };
    await expect(reading()).rejects.toBe(reason);
    for await (const _ of await client.fetch(repository, big)) break;
    (await client.fetch(repository, big)).cancel();
    await expect
      .poll(async () => await (await fetch(`http://${server.admin}/metrics`)).text())
      .toMatch(/^layercache_fetch_active 0$/m);
  });
});

describe('how it connects', () => {
  it('to a Unix domain socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'layercache-client-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const address = `unix:${join(folder, 'socket')}`;
    await startServer([`--storage=file://${tree.root}`, `--listen=${address}`]);
    expect(await connect({ address }).exists(repository, small)).toMatchObject({ exists: true });
  });

  it('round robin over replicas: each is asked, and one that goes away costs no call', async () => {
    const second = await startServer([`--storage=file://${tree.root}`]);
    const third = await startServer([`--storage=file://${tree.root}`]);
    const client = connect({ address: [second.listen, third.listen] });
    const asked = async ({ admin }: LayercacheProcess) =>
      Number(
        /layercache_requests_total\{operation="stat",result="hit"\} (\d+)/.exec(
          await (await fetch(`http://${admin}/metrics`)).text(),
        )?.[1],
      );
    // The first calls may come before the second connection stands.
    await expect
      .poll(async () => {
        await client.stat(repository, small);
        return Math.min(await asked(second), await asked(third));
      })
      .toBeGreaterThan(2);
    second.signal('SIGTERM');
    for (let n = 0; n < 20; n += 1) expect(await client.stat(repository, small)).toMatchObject({ length: 7 });
    await second.exited();
    for (let n = 0; n < 20; n += 1) expect(await client.stat(repository, small)).toMatchObject({ length: 7 });
  });

  it('names as a list are refused, and what to do instead', () => {
    expect(() => new LayerCacheClient({ address: ['a.example:1', 'b.example:2'] })).toThrow(
      'several addresses must be IP addresses',
    );
  });

  it('over TLS by name and by address, with a client certificate, and with a token', async () => {
    const authority = await CertificateAuthority.create();
    onTestFinished(() => authority.delete());
    const shown = await authority.issue({ names: ['DNS:localhost', 'IP:127.0.0.1'] });
    const own = await authority.issue({ names: ['DNS:frontend.example'] });
    const secure = await startServer([
      `--storage=file://${tree.root}`,
      `--tls-cert=${shown.certFile}`,
      `--tls-key=${shown.keyFile}`,
      `--tls-client-ca=${authority.certFile}`,
      '--auth=jwt',
      `--auth-issuer=${issuer}`,
      `--auth-service=${service}`,
      `--auth-rootcertbundle=${authority.certFile}`,
    ]);
    const ca = { file: authority.certFile };
    const cert = own.cert.toString();
    const tokens = new TokenIssuer(authority);
    let issued = 0;
    const token = async () => {
      issued += 1;
      return tokens.issue([{ type: 'repository', name: repository, actions: ['pull'] }]);
    };
    const named = secure.listen.replace('127.0.0.1', 'localhost');
    const tls = { ca, cert, key: own.key };
    for (const address of [secure.listen, named, `dns:///${named}`, [secure.listen]]) {
      const client = connect({ address, tls, token });
      expect(await client.exists(repository, small)).toMatchObject({ exists: true });
      expect((await bytesOf(await client.fetch(repository, small))).toString()).toBe('a layer');
    }
    expect(issued).toBe(8);

    const stranger = connect({ address: named, tls });
    expect(await failure(stranger.exists(repository, small))).toMatchObject({
      code: 'UNAUTHENTICATED',
      reason: 'TOKEN_INVALID',
    });
    const other = connect({ address: named, tls, token });
    expect(await failure(other.exists('library/other', small))).toMatchObject({
      code: 'PERMISSION_DENIED',
      reason: 'SCOPE_MISSING',
    });
    const refused = [
      { tls: { ca } },
      { tls: true },
      { tls: { ...tls, serverName: 'other.example' } },
    ] as const;
    for (const options of refused) {
      const client = connect({ address: named, token, timeoutMs: 3000, maxAttempts: 1, ...options });
      expect(await failure(client.exists(repository, small))).toMatchObject({ code: 'UNAVAILABLE' });
    }
  });
});
