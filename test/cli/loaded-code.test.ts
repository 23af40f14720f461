/** What a running server has loaded, as V8 itself counts it: every script of which a line ran. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LayercacheProcess } from '../parts/layercache-process.js';

interface Coverage {
  readonly result: readonly { readonly url: string }[];
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-loaded-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ofStorage = ['/bundle/app', '/bundle/file-driver', '/bundle/s3-', '/bundle/azure-', '/bundle/object-'];
const packages = ['/node_modules/@aws-sdk/', '/node_modules/@smithy/', '/node_modules/@azure/'];

/** The names among these that occur in what a server with that storage has loaded by its end. */
async function loaded(storage: string, names = [...ofStorage, ...packages]): Promise<string[]> {
  const into = await mkdtemp(join(folder, 'run-'));
  const server = await LayercacheProcess.start([`--storage=${storage}`], {
    env: {
      NODE_V8_COVERAGE: into,
      AWS_ACCESS_KEY_ID: 'key',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AZURE_STORAGE_KEY: 'a2V5',
    },
  });
  try {
    server.signal('SIGTERM');
    expect(await server.exited()).toBe(0);
  } finally {
    await server.stop();
  }
  const scripts: string[] = [];
  for (const file of await readdir(into)) {
    const { result } = JSON.parse(await readFile(join(into, file), 'utf8')) as Coverage;
    scripts.push(...result.map(({ url }) => url));
  }
  return names.filter((name) => scripts.some((url) => url.includes(name)));
}

it('file:// loads no code of an object store', async () => {
  expect(await loaded('file:///')).toEqual(['/bundle/app', '/bundle/file-driver']);
});

it('s3:// loads no code of Azure, and no file driver', async () => {
  expect(await loaded('s3://bucket?endpoint=http://127.0.0.1:9&path-style=true')).toEqual([
    '/bundle/app',
    '/bundle/s3-',
    '/bundle/object-',
    '/node_modules/@aws-sdk/',
    '/node_modules/@smithy/',
  ]);
});

it('azblob:// loads no code of S3, and no file driver', async () => {
  expect(await loaded('azblob://account/container?endpoint=http://127.0.0.1:9/account')).toEqual([
    '/bundle/app',
    '/bundle/azure-',
    '/bundle/object-',
    '/node_modules/@azure/',
  ]);
});

it('neither grpc-js nor TLS nor what writes profiles is loaded before a client or an option asks for it', async () => {
  const late = ['/bundle/grpc-js-transport', '/bundle/tls-handshakes', '/bundle/debug-requests'];
  const chunks = await readdir(join(import.meta.dirname, '../../dist/bundle'));
  for (const name of late) expect(chunks.some((chunk) => `/bundle/${chunk}`.startsWith(name))).toBe(true);
  expect(await loaded('file:///', late)).toEqual([]);
});
