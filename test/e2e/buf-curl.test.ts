/**
 * The server as somebody pokes it who has nothing but its address: `buf curl`
 * learns the API by reflection, as grpcurl does, and calls every RPC.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ErrorInfo } from '../../src/gen/google/rpc/error_details.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const buf = join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'buf');
const service = 'layercache.v1.LayerCacheService';
const repository = repositoryNamed('library/app');
const bytes = Buffer.from('the bytes of a layer');

let tree: TemporaryTree;
let server: LayercacheProcess;
let digest: Digest;

beforeAll(async () => {
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repository, bytes);
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`]);
  await server.readyz(200);
});

afterAll(async () => {
  await server?.stop();
  await tree?.delete();
});

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(
    buf,
    ['curl', '--reflect', '--protocol', 'grpc', '--http2-prior-knowledge', ...args],
    { timeout: 20_000 },
  );
  return stdout;
}

/** Calls an RPC with a JSON request; gives its messages. */
async function call(rpc: string, request: object): Promise<unknown[]> {
  const url = `http://${server.listen}/${service}/${rpc}`;
  const output = await curl('--data', JSON.stringify(request), url);
  return output
    .split(/(?<=^\})\n/m)
    .filter((text) => text.trim() !== '')
    .map((text) => JSON.parse(text));
}

describe('buf curl over reflection', () => {
  it('lists every RPC', async () => {
    const methods = (await curl('--list-methods', `http://${server.listen}`)).trim().split('\n');
    expect(methods).toEqual(
      expect.arrayContaining(
        ['Add', 'Contains', 'Exists', 'Fetch', 'FindMissing', 'GetMeta', 'Remove', 'SetMeta', 'Stat'].map(
          (rpc) => `${service}/${rpc}`,
        ),
      ),
    );
    expect(methods).toContain('grpc.health.v1.Health/Check');
  });

  it('calls every RPC', async () => {
    const layer = { repository, digest };
    const meta = { path: blobPath(digest), length: String(bytes.length) };
    const absent = `sha256:${'0'.repeat(64)}`;

    expect(await call('Exists', layer)).toEqual([{ exists: true, source: 'SOURCE_UPSTREAM' }]);
    expect(await call('Exists', { ...layer, max_age: '0s' })).toEqual([
      { exists: true, source: 'SOURCE_UPSTREAM' },
    ]);
    expect(await call('Stat', layer)).toEqual([
      { digest, length: String(bytes.length), source: 'SOURCE_CACHE' },
    ]);
    expect(await call('FindMissing', { repository, digests: [absent, digest] })).toEqual([
      { missingDigests: [absent] },
    ]);
    expect(await call('Fetch', { ...layer, offset: 4, limit: 5 })).toEqual([
      { header: { digest, length: String(bytes.length), offset: '4', source: 'SOURCE_CACHE' } },
      { chunk: Buffer.from('bytes').toString('base64') },
    ]);
    expect(await call('Contains', layer)).toEqual([{ contains: true }]);
    expect(await call('GetMeta', { digest })).toEqual([{ meta }]);
    expect(await call('Remove', layer)).toEqual([{}]);
    expect(await call('Contains', layer)).toEqual([{}]);
    expect(await call('Add', layer)).toEqual([{}]);
    expect(await call('SetMeta', { digest, meta })).toEqual([{}]);
    expect(await call('GetMeta', { digest })).toEqual([{ meta }]);
  });

  it('shows an error with its details', async () => {
    const failure = await call('Exists', { repository: 'Not A Name', digest }).catch((error) => error);
    const { code, message, details } = JSON.parse(failure.stderr);
    expect(code).toBe('invalid_argument');
    expect(details.map((detail: { type: string }) => detail.type)).toEqual([
      'google.rpc.ErrorInfo',
      'google.rpc.BadRequest',
    ]);
    const info = ErrorInfo.decode(Buffer.from(details[0].value, 'base64'));
    expect(info).toMatchObject({ domain: 'layercache', reason: 'REPOSITORY_INVALID' });
    expect(message).not.toContain('Not A Name');
  });

  it('asks the health service', async () => {
    const output = await curl(
      '--data',
      JSON.stringify({ service }),
      `http://${server.listen}/grpc.health.v1.Health/Check`,
    );
    expect(JSON.parse(output)).toEqual({ status: 'SERVING' });
  });
});
