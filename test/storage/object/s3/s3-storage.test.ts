/** The S3 driver on a real object store, Ceph's RADOS gateway. */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStorage } from '../../../../src/storage/open.js';
import type { StorageDriver } from '../../../../src/storage/storage-driver.js';
import { storageDriverSuite } from '../../../contract/storage-driver.js';
import { type Bucket, environmentOf, RadosGateway } from '../../../parts/rados-gateway.js';

const timeoutMs = 10_000;
const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };
const registry = 'docker/registry/v2';

let gateway: RadosGateway;
let bucket: Bucket;
beforeAll(async () => {
  gateway = await RadosGateway.start();
  bucket = await gateway.createBucket();
});
afterAll(() => gateway?.stop());

beforeEach(() => {
  for (const [name, value] of Object.entries(gateway.environment)) vi.stubEnv(name, value);
});
const opened: StorageDriver[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const driver of opened.splice(0)) await driver.close();
});

async function open(url: string): Promise<StorageDriver> {
  const driver = await openStorage(url, { timeoutMs });
  opened.push(driver);
  return driver;
}

storageDriverSuite('s3:// of a RADOS gateway', async () => {
  const prefix = `suite/${randomUUID()}`;
  for (const [name, value] of Object.entries(gateway.environment)) vi.stubEnv(name, value);
  const driver = await openStorage(bucket.url(prefix), { timeoutMs });
  return {
    driver,
    put: (path, bytes) => bucket.put(prefix + path, bytes),
    remove: (path) => bucket.remove(prefix + path),
    close: () => driver.close(),
  };
});

describe('rule 11: absence', () => {
  it('behind a prefix where no registry lies is no absence, until a key is there', async () => {
    await bucket.put(`right/${registry}/x`, Buffer.from('x'));
    const driver = await open(bucket.url('wrong'));
    const uncertain = { name: 'StorageError', message: expect.stringContaining('wrong/docker/registry/v2/') };
    await expect(driver.check(live)).rejects.toMatchObject(uncertain);
    await expect(driver.stat('/docker/registry/v2/x', live)).rejects.toMatchObject(uncertain);
    await expect(driver.open('/docker/registry/v2/x', whole, live)).rejects.toMatchObject(uncertain);
    await expect(driver.readSmall('/docker/registry/v2/x', live)).rejects.toMatchObject(uncertain);

    await bucket.put(`wrong/${registry}/y`, Buffer.from('y'));
    await driver.check(live);
    await expect(driver.stat('/docker/registry/v2/x', live)).rejects.toMatchObject({
      name: 'PathNotFoundError',
    });
  });

  it('without a prefix the bucket itself is the root', async () => {
    const own = await gateway.createBucket();
    await own.put(`${registry}/x`, Buffer.from('xyz'));
    const driver = await open(own.url());
    await driver.check(live);
    expect((await driver.stat('/docker/registry/v2/x', live)).size).toBe(3);
  });

  it('in a bucket that does not exist is a line that says so', async () => {
    const url = bucket.url().replace(bucket.name, 'no-such-bucket');
    const driver = await open(url);
    const missing = { name: 'StorageError', message: 'the bucket no-such-bucket does not exist' };
    await expect(driver.check(live)).rejects.toMatchObject(missing);
    await expect(driver.stat('/docker/x', live)).rejects.toMatchObject(missing);
    await expect(driver.open('/docker/x', whole, live)).rejects.toMatchObject(missing);
  });

  it('without the right to list the bucket is a line that names the permission', async () => {
    const credentials = { accessKeyId: 'READERKEY', secretAccessKey: 'reader-secret' };
    await gateway.createUser('reader', credentials);
    const own = await gateway.createBucket();
    await own.put(`${registry}/x`, Buffer.from('x'));
    await own.grant('reader', ['s3:GetObject']);
    for (const [name, value] of Object.entries(environmentOf(credentials))) vi.stubEnv(name, value);

    const driver = await open(own.url());
    const denied = { name: 'StorageError', message: expect.stringContaining('s3:ListBucket') };
    await expect(driver.check(live)).rejects.toMatchObject(denied);
    await expect(driver.open('/docker/registry/v2/absent', whole, live)).rejects.toMatchObject(denied);
    expect((await driver.open('/docker/registry/v2/x', whole, live)).size).toBe(1);

    await own.grant('reader', ['s3:GetObject', 's3:ListBucket']);
    await driver.check(live);
    await expect(driver.open('/docker/registry/v2/absent', whole, live)).rejects.toMatchObject({
      name: 'PathNotFoundError',
    });
  });

  it.each([
    ['a wrong secret', { AWS_SECRET_ACCESS_KEY: 'not-the-secret' }, '403 SignatureDoesNotMatch'],
    ['an unknown key', { AWS_ACCESS_KEY_ID: 'NOBODYSKEY' }, '403 InvalidAccessKeyId'],
  ])('with %s is a line with the code of the refusal and no secret', async (_, env, code) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const driver = await open(bucket.url());
    const error = await driver.check(live).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ name: 'StorageError', message: expect.stringContaining(code) });
    expect((error as Error).message).not.toContain('\n');
    const told = JSON.stringify(error, Object.getOwnPropertyNames(error));
    for (const secret of [...Object.values(gateway.environment), ...Object.values(env)])
      expect(told).not.toContain(secret);
  });
});

describe('redirects', () => {
  it('a signed URL gives the bytes, a range of them, and nothing of another object', async () => {
    const content = randomBytes(1000);
    await bucket.put(`signed/${registry}/x`, content);
    const driver = await open(bucket.url('signed'));
    const url = (await driver.redirectUrl('/docker/registry/v2/x', live)) ?? '';
    const answer = await fetch(url);
    expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true);
    const part = await fetch(url, { headers: { range: 'bytes=10-19' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(content.subarray(10, 20))).toBe(true);
    const other = await fetch(url.replace('/x?', '/y?'));
    expect(other.status).toBe(403);
    const { searchParams } = new URL(url);
    expect(Number(searchParams.get('X-Amz-Expires'))).toBe(300);
  });

  it('redirect-endpoint= is where the client is sent, and part of what is signed', async () => {
    await bucket.put(`sent/${registry}/x`, Buffer.from('sent'));
    const outside = `http://localhost:${gateway.port}`;
    const driver = await open(bucket.url('sent', { 'redirect-endpoint': outside }));
    const url = (await driver.redirectUrl('/docker/registry/v2/x', live)) ?? '';
    expect(url.startsWith(`${outside}/`)).toBe(true);
    expect(await (await fetch(url)).text()).toBe('sent');
    const inside = await fetch(url.replace('//localhost:', '//127.0.0.1:'));
    expect(inside.status).toBe(403);
  });
});
