import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { CacheUrlError, describeCache, openCache } from '../../src/cache/open.js';

const options = { timeoutMs: 100, onUp: () => {}, onError: () => {} };

describe('memory:', () => {
  it('opens a cache in memory, which is up at once', async () => {
    const changes: boolean[] = [];
    const cache = await openCache('memory:', { ...options, onUp: (up) => changes.push(up) });
    await cache.add('repo', 'sha256:a');
    expect(await cache.contains('repo', 'sha256:a')).toBe(true);
    expect(changes).toEqual([true]);
    await cache.close();
  });

  it('keeps as many entries as max says', async () => {
    const cache = await openCache('memory:?max=2', options);
    for (const digest of ['sha256:a', 'sha256:b', 'sha256:c']) await cache.add('repo', digest);
    expect(await cache.containsMany('repo', ['sha256:a', 'sha256:b', 'sha256:c'])).toEqual([
      false,
      true,
      true,
    ]);
    await cache.close();
  });

  it('loads nothing of the network', async () => {
    const loaded = () =>
      Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes('/ioredis/'));
    await (await openCache('memory:', options)).close();
    expect(loaded()).toEqual([]);
    // Port 1 answers nobody; what counts is that the check above would have seen the library.
    await (await openCache('redis://127.0.0.1:1', options)).close();
    expect(loaded()).not.toEqual([]);
  });
});

describe('a URL that names no cache', () => {
  it.each([
    ['', 'not a URL'],
    ['localhost', 'not a URL'],
    ['redis://', 'names no host'],
    ['redis:', 'names no host'],
    ['redis:///0', 'names no host'],
    ['redis://host:0', 'port 0'],
    ['redis://host:70000', 'not a URL'],
    ['redis://host/db', 'index of a database'],
    ['redis://host/-1', 'index of a database'],
    ['redis://host/01', 'index of a database'],
    ['redis://host/1/2', 'index of a database'],
    ['redis://host?x', 'no parameters'],
    ['redis://host?near=1&x=2', 'no parameters'],
    ['redis://host?near=1&near=1', 'once each'],
    ['redis://host?near=1&near-ttl=1s&near-ttl=1s', 'once each'],
    ['redis://host?near-ttl=1s', 'needs near'],
    ['redis://host?near', 'near is a whole number from 1 to'],
    ['redis://host?near=0', 'near is a whole number from 1 to'],
    ['redis://host?near=-1', 'near is a whole number from 1 to'],
    ['redis://host?near=1.5', 'near is a whole number from 1 to'],
    ['redis://host?near=10000001', 'near is a whole number from 1 to'],
    ['redis://host?near=1&near-ttl', 'near-ttl is a duration'],
    ['redis://host?near=1&near-ttl=0s', 'near-ttl is a duration'],
    ['redis://host?near=1&near-ttl=60', 'near-ttl is a duration'],
    ['redis://host?near=1&near-ttl=1d', 'near-ttl is a duration'],
    ['redis://host?near=1&near-ttl=25h', 'near-ttl is a duration'],
    ['redis://host?near=1&near-ttl=86400001ms', 'near-ttl is a duration'],
    ['memory:?near=1', 'one parameter, max, once'],
    ['redis://host/0?family=6', 'no parameters'],
    ['redis://host#x', '#fragment'],
    ['redis://user:pa%zz@host', 'percent-encoded'],
    ['localhost:6379', 'unknown scheme'],
    ['http://host', 'unknown scheme'],
    ['redis+cluster://', 'names no host'],
    ['redis+cluster://a,b/0', 'no path'],
    ['redis+cluster://a,b?near=5', 'near needs one Redis'],
    ['redis+other://host:1', 'unknown scheme'],
    ['redis+sentinel://', 'names no host'],
    ['redis+sentinel://host', 'name of the master'],
    ['redis+sentinel://host/', 'name of the master'],
    ['redis+sentinel://host/a/b', 'name of the master'],
    ['redis+sentinel://host,/m', 'names no host'],
    ['redis+sentinel://host,b:0/m', 'port 0'],
    ['redis+sentinel://host,b:65536/m', 'at most 65535'],
    ['redis+sentinel://host,::1/m', 'not a URL'],
    ['redis+sentinel://a@b@host/m', 'not a URL'],
    ['redis+sentinel://host/m?near=5', 'near needs one Redis'],
    ['redis+sentinel://host/m?x=5', 'no parameters'],
    ['redis://a,b', 'names one host'],
    ['redis://host?ca=/x', 'for rediss'],
    ['redis://host?cert=/x&key=/y', 'for rediss'],
    ['rediss://host?cert=/x', 'together'],
    ['rediss://host?key=/x', 'together'],
    ['rediss://host?ca=/x&ca=/y', 'ca is given once'],
    ['rediss://host?ca=', 'ca is given once, and is not empty'],
    ['redis://host?password-file=', 'password-file is given once, and is not empty'],
    ['redis://host?password-file=/x&password-file=/y', 'password-file is given once'],
    ['redis://:x@host?password-file=/x', 'for a URL without that password'],
    ['redis://host?sentinel-user=x', 'no parameters'],
    ['redis+cluster://host?sentinel-password=x', 'no parameters'],
    ['redis+sentinel://host/m?sentinel-user=x', 'needs sentinel-password'],
    ['redis+sentinel://host/m?sentinel-password=x&sentinel-password-file=/x', 'without that password'],
    ['redis+sentinel://host/m?sentinel-password=', 'sentinel-password is given once, and is not empty'],
    ['memory:x', 'neither host nor path'],
    ['memory://host', 'neither host nor path'],
    ['memory:?size=1', 'one parameter, max, once'],
    ['memory:?max=1&max=2', 'one parameter, max, once'],
    ['memory:?max=1&x=2', 'one parameter, max, once'],
    ['memory:?max=', 'a whole number from 1 to'],
    ['memory:?max=0', 'a whole number from 1 to'],
    ['memory:?max=-1', 'a whole number from 1 to'],
    ['memory:?max=1.5', 'a whole number from 1 to'],
    ['memory:?max=1e3', 'a whole number from 1 to'],
    ['memory:?max=10000001', 'a whole number from 1 to'],
    ['memory:?max=99999999999999999999', 'a whole number from 1 to'],
  ])('%j', async (url, reason) => {
    const error = await openCache(url, options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CacheUrlError);
    expect(error).toMatchObject({ message: expect.stringContaining(reason) });
    expect(() => describeCache(url)).toThrow(CacheUrlError);
  });

  it.each([
    'redis://:s3cret#x@host',
    'redis://:s3cret?x@host',
    'redis://:s3cret/x@host',
    'redis://:s3cret%zz@host',
    'redis://user:s3cret@host:port',
    'redis+sentinel://user:s3cret@host,b:port/m',
    'redis+sentinel://user:s3cret@s3cret@host/m',
    'redis+sentinel://user:s3cret@host/m/s3cret',
    'redis+sentinel://host/m?sentinel-password=s3cret&sentinel-password=s3cret',
    'redis+sentinel://host/m?sentinel-user=s3cret',
    'redis+sentinel://host/m?sentinel-password=s3cret&x=1',
    'redis://user:s3cret@host/x',
    'redis://user:s3cret@host?s3cret=s3cret',
    'redis://user:s3cret@host?near=s3cret',
    'redis://user:s3cret@host?near=1&near-ttl=s3cret',
    's3cret:x',
    'memory:?s3cret=1',
    'memory:s3cret',
  ])('is not repeated, whatever it holds: %j', async (url) => {
    const error = await openCache(url, options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CacheUrlError);
    expect(error instanceof Error && error.message).not.toMatch(/s3cret|\n/);
  });
});

it.each([
  '://host?ca=/nowhere',
  '://host?cert=/nowhere&key=/nowhere',
  '://host?password-file=/nowhere',
  '+sentinel://host/m?sentinel-password-file=/nowhere',
])('says that a file cannot be read: %s', async (rest) => {
  const error = await openCache(`rediss${rest}`, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CacheUrlError);
  expect(error).toMatchObject({
    message: expect.stringMatching(/^the file of (ca|cert|key|the password) cannot be read$/),
  });
});

describe('the description of a cache', () => {
  it.each([
    ['memory:', 'memory: (at most 100000 entries)'],
    ['memory:?max=5', 'memory: (at most 5 entries)'],
    ['redis://host', 'redis://host:6379/0'],
    ['redis://host/', 'redis://host:6379/0'],
    ['redis://host?', 'redis://host:6379/0'],
    ['redis://host:6380/2', 'redis://host:6380/2'],
    ['rediss://[::1]:6380', 'rediss://[::1]:6380/0'],
    ['redis://user:s3cret@host', 'redis://***@host:6379/0'],
    ['redis://:s3cret@host:1/9', 'redis://***@host:1/9'],
    ['redis://s3cret@host', 'redis://***@host:6379/0'],
    ['redis+sentinel://a,b:1,[::1]:2/the-master', 'redis+sentinel://a:26379,b:1,[::1]:2/the-master'],
    ['rediss+cluster://:s3cret@a,[::1]:2', 'rediss+cluster://***@a:6379,[::1]:2'],
    ['rediss+sentinel://user:s3cret@a/m?ca=/x', 'rediss+sentinel://***@a:26379/m'],
    ['redis://user@host?password-file=/x', 'redis://***@host:6379/0'],
    ['redis+sentinel://a/m?sentinel-user=x&sentinel-password=s3cret', 'redis+sentinel://a:26379/m'],
    ['redis://host?near=5', 'redis://host:6379/0 (near: at most 5 layers, for 60 s)'],
    [
      'redis://:s3cret@host/1?near-ttl=1500ms&near=5',
      'redis://***@host:6379/1 (near: at most 5 layers, for 1.5 s)',
    ],
    [
      'rediss://host?near=10000000&near-ttl=24h',
      'rediss://host:6379/0 (near: at most 10000000 layers, for 86400 s)',
    ],
  ])('%j', (url, description) => {
    expect(describeCache(url)).toBe(description);
  });
});
