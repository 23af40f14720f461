import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { CacheError } from '../../../src/cache/layer-info-cache.js';
import { openCache } from '../../../src/cache/open.js';
import { RedisServer } from '../../parts/redis-server.js';

const run = promisify(execFile);

describe('rediss://', () => {
  let directory: string;
  let certFile: string;
  let server: RedisServer;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'layercache-tls-'));
    certFile = join(directory, 'cert.pem');
    const keyFile = join(directory, 'key.pem');
    await run('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '1',
      ],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
      ...['-keyout', keyFile, '-out', certFile],
    ]);
    server = await RedisServer.start({ tls: { certFile, keyFile } });
  });

  afterAll(async () => {
    await server.stop();
    await rm(directory, { recursive: true });
  });

  it('trusts the authorities of the machine and those in NODE_EXTRA_CA_CERTS', async () => {
    // That variable is read when a process starts.
    const url = server.url.replace('127.0.0.1', 'localhost');
    for (const target of [server.url, url]) {
      const { stdout } = await run(process.execPath, [...typescript, client, target], {
        env: { ...process.env, NODE_EXTRA_CA_CERTS: certFile, NODE_OPTIONS: '' },
      });
      expect(stdout.trim()).toBe('true');
    }
    const plain = await server.client();
    expect(await plain.smembers('repository::repo::blobs')).toEqual(['sha256:a']);
  });

  it('trusts no other authority', async () => {
    const onError = vi.fn<(error: Error) => void>();
    const onUp = vi.fn<(up: boolean) => void>();
    const cache = await openCache(server.url, { timeoutMs: 100, onUp, onError });
    expect(onUp.mock.calls).toEqual([[false]]);
    expect(onError.mock.calls[0]?.[0]).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    await expect(cache.contains('repo', 'sha256:a')).rejects.toThrow(CacheError);
    await cache.close();
  });

  it('does not fall back to speaking in the clear', async () => {
    const clear = await RedisServer.start();
    const onUp = vi.fn<(up: boolean) => void>();
    const url = clear.url.replace('redis:', 'rediss:');
    const cache = await openCache(url, { timeoutMs: 100, onUp, onError: () => {} });
    expect(onUp.mock.calls).toEqual([[false]]);
    await expect(cache.add('repo', 'sha256:a')).rejects.toThrow(CacheError);
    await cache.close();
    await clear.stop();
  });
});

// The sources name each other as they will be called when compiled.
const hooks = `
  import { registerHooks } from 'node:module';
  registerHooks({
    resolve: (specifier, context, next) =>
      next(context.parentURL?.endsWith('.ts') ? specifier.replace(/^(\\..*)\\.js$/, '$1.ts') : specifier, context),
  });`;
const typescript = [
  '--experimental-strip-types',
  '--no-warnings',
  '--import',
  `data:text/javascript,${encodeURIComponent(hooks)}`,
];
const client = join(import.meta.dirname, '../../parts/redis-tls-client.ts');
