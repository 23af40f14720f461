/** The Azure driver on Azurite. */
import { randomBytes, randomUUID } from 'node:crypto';
import { ContainerSASPermissions } from '@azure/storage-blob';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStorage } from '../../../../src/storage/open.js';
import type { StorageDriver } from '../../../../src/storage/storage-driver.js';
import { storageDriverSuite } from '../../../contract/storage-driver.js';
import { Azurite, type Container } from '../../../parts/azurite.js';
import { rest } from '../../../parts/blob-rest.js';

const timeoutMs = 10_000;
const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };
const registry = 'docker/registry/v2';

let azurite: Azurite;
let container: Container;
beforeAll(async () => {
  azurite = await Azurite.start();
  container = await azurite.createContainer();
});
afterAll(() => azurite?.stop());

const variables = ['AZURE_STORAGE_KEY', 'AZURE_STORAGE_SAS_TOKEN', 'AZURE_STORAGE_CONNECTION_STRING'];

/** These variables and no others. */
function stub(environment: Readonly<Record<string, string>>): void {
  for (const name of variables) vi.stubEnv(name, environment[name]);
}

beforeEach(() => stub({ AZURE_STORAGE_KEY: azurite.key }));
const opened: StorageDriver[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const driver of opened.splice(0)) await driver.close();
});

async function open(url: string, patience = timeoutMs): Promise<StorageDriver> {
  const driver = await openStorage(url, { timeoutMs: patience });
  opened.push(driver);
  return driver;
}

storageDriverSuite('azblob:// of Azurite', async () => {
  const prefix = `suite/${randomUUID()}`;
  stub({ AZURE_STORAGE_KEY: azurite.key });
  const driver = await openStorage(container.url(prefix), { timeoutMs });
  return {
    driver,
    put: (path, bytes) => container.put(prefix + path, bytes),
    remove: (path) => container.remove(prefix + path),
    close: () => driver.close(),
  };
});

/** A shared access signature for the container. */
async function signatureOf(permissions: string): Promise<string> {
  const url = await azurite.service.getContainerClient(container.name).generateSasUrl({
    permissions: ContainerSASPermissions.parse(permissions),
    expiresOn: new Date(Date.now() + 600_000),
  });
  return new URL(url).search;
}

describe('rule 11: absence', () => {
  it('behind a prefix where no registry lies is no absence, until a blob is there', async () => {
    const driver = await open(container.url('wrong'));
    const uncertain = { name: 'StorageError', message: expect.stringContaining('wrong/docker/registry/v2/') };
    await expect(driver.check(live)).rejects.toMatchObject(uncertain);
    await expect(driver.stat('/docker/registry/v2/x', live)).rejects.toMatchObject(uncertain);
    await expect(driver.open('/docker/registry/v2/x', whole, live)).rejects.toMatchObject(uncertain);
    await container.put(`wrong/${registry}/y`, Buffer.from('y'));
    await driver.check(live);
    await expect(driver.stat('/docker/registry/v2/x', live)).rejects.toMatchObject({
      name: 'PathNotFoundError',
    });
  });

  it('in a container that does not exist, or not any more, is a line that says so', async () => {
    const gone = await azurite.createContainer();
    await gone.put(`${registry}/x`, Buffer.from('x'));
    const driver = await open(gone.url());
    await driver.check(live);
    await gone.delete();
    const missing = { name: 'StorageError', message: `the container ${gone.name} does not exist` };
    await expect(driver.check(live)).rejects.toMatchObject(missing);
    await expect(driver.stat(`/${registry}/x`, live)).rejects.toMatchObject(missing);
    await expect(driver.open(`/${registry}/x`, whole, live)).rejects.toMatchObject(missing);
    await expect(driver.readSmall(`/${registry}/x`, live)).rejects.toMatchObject(missing);
  });
});

describe('leading-slash=true, the names that registries before 3.0 wrote', () => {
  const leading = { 'leading-slash': 'true' };
  const content = randomBytes(1000);

  it.each(['', 'old'])('serves the tree below /%s, its redirects too', async (prefix) => {
    const own = await azurite.createContainer();
    const root = prefix === '' ? '' : `/${prefix}`;
    await own.put(`${root}/${registry}/x`, content);
    const driver = await open(own.url(prefix, leading));
    await driver.check(live);
    expect((await driver.stat(`/${registry}/x`, live)).size).toBe(1000);
    expect(Buffer.from(await driver.readSmall(`/${registry}/x`, live)).equals(content)).toBe(true);
    const { reader } = await driver.open(`/${registry}/x`, { offset: 10, limit: 20 }, live);
    expect((await rest(reader)).equals(content.subarray(10, 30))).toBe(true);
    await reader.close();
    await expect(driver.stat(`/${registry}/no`, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
    const answer = await fetch((await driver.redirectUrl(`/${registry}/x`, live)) ?? '');
    expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true);
  });

  it.each(['', 'old'])('a check that finds the tree only there, below /%s, says so', async (prefix) => {
    const own = await azurite.createContainer();
    const root = prefix === '' ? '' : `${prefix}/`;
    await own.put(`/${root}${registry}/x`, content);
    const driver = await open(own.url(prefix));
    const message = `the container ${own.name} holds no key that begins with ${root}${registry}/, but some that begin with /${root}${registry}/: add leading-slash=true to the storage URL`;
    await expect(driver.check(live)).rejects.toMatchObject({ name: 'StorageError', message });
    // It is no absence either.
    await expect(driver.stat(`/${registry}/x`, live)).rejects.toMatchObject({
      name: 'StorageError',
      message,
    });
  });

  it('a check that finds the tree only without it says so', async () => {
    const own = await azurite.createContainer();
    await own.put(`${registry}/x`, content);
    const driver = await open(own.url('', leading));
    await expect(driver.check(live)).rejects.toThrow(/: take leading-slash=true out of the storage URL$/);
  });
});

describe('credentials', () => {
  beforeAll(() => container.put(`keys/${registry}/x`, Buffer.from('secret bytes')));

  it('a shared access signature to read and list is enough, and signs no redirect', async () => {
    stub({ AZURE_STORAGE_SAS_TOKEN: await signatureOf('rl') });
    const driver = await open(container.url('keys'));
    await driver.check(live);
    expect((await driver.stat(`/${registry}/x`, live)).size).toBe(12);
    await expect(driver.readSmall(`/${registry}/y`, live)).rejects.toMatchObject({
      name: 'PathNotFoundError',
    });
    expect(await driver.redirectUrl(`/${registry}/x`, live)).toBeUndefined();
  });

  it('one that may not list is a line that says what is needed', async () => {
    stub({ AZURE_STORAGE_SAS_TOKEN: await signatureOf('r') });
    const driver = await open(container.url('keys'));
    await expect(driver.check(live)).rejects.toMatchObject({
      name: 'StorageError',
      message: expect.stringMatching(/LIST: 403 \w+: .*listing/),
    });
  });

  it('a wrong key is a line with the code of the refusal and no secret', async () => {
    const wrong = Buffer.from('not the key').toString('base64');
    stub({ AZURE_STORAGE_KEY: wrong });
    const driver = await open(container.url('keys'));
    const error = await driver.check(live).catch((reason: unknown) => reason as Error);
    expect(error).toMatchObject({ name: 'StorageError', message: expect.stringContaining('403') });
    const told = JSON.stringify(error, Object.getOwnPropertyNames(error));
    for (const secret of [wrong, 'SharedKey', 'Signature']) expect(told).not.toContain(secret);
  });

  it('a connection string brings key and endpoint', async () => {
    const connection = `DefaultEndpointsProtocol=http;AccountName=${azurite.account};AccountKey=${azurite.key};BlobEndpoint=${azurite.endpoint}/;`;
    stub({ AZURE_STORAGE_CONNECTION_STRING: connection });
    const driver = await open(`azblob://${azurite.account}/${container.name}/keys`);
    await driver.check(live);
    expect(await driver.redirectUrl(`/${registry}/x`, live)).toBeDefined();
    await expect(open(`azblob://another/${container.name}/keys`)).rejects.toThrow(/another account/);
  });
});

describe('redirects', () => {
  it('a signed URL gives the bytes, a range of them, and nothing of another blob', async () => {
    const content = randomBytes(1000);
    await container.put(`signed/${registry}/x`, content);
    const outside = azurite.endpoint.replace('127.0.0.1', 'localhost');
    const driver = await open(container.url('signed', { 'redirect-endpoint': outside }));
    const url = (await driver.redirectUrl(`/${registry}/x`, live)) ?? '';
    expect(url.startsWith(`${outside}/`)).toBe(true);
    const answer = await fetch(url);
    expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true);
    const part = await fetch(url, { headers: { range: 'bytes=10-19' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(content.subarray(10, 20))).toBe(true);
    await container.put(`signed/${registry}/y`, Buffer.from('y'));
    expect((await fetch(url.replace('/x?', '/y?'))).status).toBe(403);
    const expires = Date.parse(new URL(url).searchParams.get('se') ?? '');
    expect(expires - Date.now()).toBeLessThanOrEqual(300_000);
  });
});

describe('an outage', () => {
  it('rule 16: that hangs is unavailable in its time, and over when it is over', async () => {
    await container.put(`hang/${registry}/x`, randomBytes(4 << 20));
    const driver = await open(container.url('hang'), 1000);
    await driver.check(live);
    await azurite.pause();
    try {
      const failed = { name: 'StorageError' };
      await Promise.all([
        expect(driver.stat(`/${registry}/x`, live)).rejects.toMatchObject(failed),
        expect(driver.open(`/${registry}/x`, whole, live)).rejects.toMatchObject(failed),
        expect(driver.check(live)).rejects.toMatchObject(failed),
      ]);
    } finally {
      azurite.resume();
    }
    await expect
      .poll(() => driver.stat(`/${registry}/x`, live), { timeout: 10_000 })
      .toMatchObject({
        size: 4 << 20,
      });
  });
});
