/** A storage that is not there: the one line that a server writes, which says why. */
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Azurite } from '../parts/azurite.js';
import { LayercacheProcess, type RunOptions } from '../parts/layercache-process.js';
import { type Bucket, RadosGateway } from '../parts/rados-gateway.js';
import { withoutPrivilege } from '../parts/without-privilege.js';

const registry = 'docker/registry/v2';
const denied =
  'the credentials need s3:GetObject on its objects and s3:ListBucket on the bucket, without which an absent key is denied too';

let server: LayercacheProcess;
afterEach(() => server?.stop());

/** The only warning of a server with that storage; it has no stack and no error beside the message. */
async function warningOf(storage: string, options: RunOptions = {}): Promise<string> {
  server = await LayercacheProcess.start([`--storage=${storage}`, '--storage-timeout=2s'], options);
  const line = await server.logged((line) => line['level'] === 'warn');
  expect(line).not.toHaveProperty('err');
  expect(await server.readyz(503)).toMatchObject({ status: 'not ready', storageSeen: false });
  expect(server.log.filter((line) => line['level'] === 'warn')).toHaveLength(1);
  return line.msg ?? '';
}

describe('file://', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'layercache-lines-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('a root that is not there', async () => {
    expect(await warningOf(`file://${folder}/no`)).toBe(
      `storage: the storage root ${folder}/no does not exist; not ready until it does`,
    );
  });

  it('a root without a tree', async () => {
    expect(await warningOf(`file://${folder}`)).toBe(
      `storage: the storage root ${folder} does not hold /${registry}; not ready until it does`,
    );
  });

  it('a root that may not be read', async () => {
    const root = join(folder, 'closed');
    await mkdir(join(root, registry), { recursive: true });
    await chmod(root, 0o000);
    const node = await withoutPrivilege(folder);
    expect(await warningOf(`file://${root}`, { node })).toBe(
      `storage: the storage root ${root} cannot be opened: EACCES; not ready until that is mended`,
    );
    await chmod(root, 0o755);
  });

  it('a volume of also= that is not mounted', async () => {
    const root = join(folder, 'root');
    await mkdir(join(root, registry), { recursive: true });
    expect(await warningOf(`file://${root}?also=${folder}/volume2`)).toBe(
      `storage: the directory ${folder}/volume2 of also= does not exist; not ready until it does`,
    );
  });
});

describe('s3://', () => {
  let gateway: RadosGateway;
  let bucket: Bucket;
  beforeAll(async () => {
    gateway = await RadosGateway.start();
    bucket = await gateway.createBucket();
    await bucket.put(`${registry}/x`, Buffer.from('x'));
  });
  afterAll(() => gateway?.stop());

  it('a bucket that does not exist', async () => {
    const storage = bucket.url().replace(bucket.name, 'layers');
    expect(await warningOf(storage, { env: gateway.environment })).toBe(
      'storage: the bucket layers does not exist; not ready until it does',
    );
  });

  it('a wrong prefix', async () => {
    expect(await warningOf(bucket.url('wrong'), { env: gateway.environment })).toBe(
      `storage: the bucket ${bucket.name} holds no key that begins with wrong/${registry}/; not ready until it does`,
    );
  });

  it('credentials without a right that is needed', async () => {
    const credentials = { accessKeyId: 'LINESKEY', secretAccessKey: 'lines-secret' };
    await gateway.createUser('lines', credentials);
    await bucket.grant('lines', ['s3:GetObject']);
    const env = { AWS_ACCESS_KEY_ID: 'LINESKEY', AWS_SECRET_ACCESS_KEY: 'lines-secret' };
    expect(await warningOf(bucket.url(), { env })).toBe(
      `storage: the bucket ${bucket.name} denies a GET (403): ${denied}; not ready until that is mended`,
    );
  });

  it('no credentials at all', async () => {
    const env = {
      AWS_CONFIG_FILE: '/no/such/file',
      AWS_SHARED_CREDENTIALS_FILE: '/no/such/file',
      AWS_EC2_METADATA_DISABLED: 'true',
    };
    expect(await warningOf(bucket.url(), { env })).toBe(
      `storage: the bucket ${bucket.name} cannot be asked: the environment, the AWS profile and the machine hold no credentials; not ready until that is mended`,
    );
  });

  it('no server at the address', async () => {
    const storage = bucket.url('', { port: 1 });
    expect(await warningOf(storage, { env: gateway.environment })).toBe(
      `storage: the bucket ${bucket.name} failed a GET: ECONNREFUSED; not ready until that is mended`,
    );
  });
});

describe('azblob://', () => {
  let azurite: Azurite;
  beforeAll(async () => {
    azurite = await Azurite.start();
  });
  afterAll(() => azurite?.stop());

  it('a container that does not exist', async () => {
    const container = await azurite.createContainer();
    await container.delete();
    expect(await warningOf(container.url(), { env: { AZURE_STORAGE_KEY: azurite.key } })).toBe(
      `storage: the container ${container.name} does not exist; not ready until it does`,
    );
  });

  it('names with a slash in front', async () => {
    const container = await azurite.createContainer();
    await container.put(`/${registry}/x`, Buffer.from('x'));
    expect(await warningOf(container.url(), { env: { AZURE_STORAGE_KEY: azurite.key } })).toBe(
      `storage: the container ${container.name} holds no key that begins with ${registry}/, but some that begin with /${registry}/: add leading-slash=true to the storage URL; not ready until it does`,
    );
  });

  it('a key that is not the account’s', async () => {
    const container = await azurite.createContainer();
    const env = { AZURE_STORAGE_KEY: Buffer.from('not the key').toString('base64') };
    expect(await warningOf(container.url(), { env })).toMatch(
      /^storage: the container \S+ failed a LIST: 403 \w+: the credentials must be for reading blobs and listing the container; not ready until that is mended$/,
    );
  });
});
