import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { describeStorage, openStorage } from '../../src/storage/open.js';
import { StorageUrlError } from '../../src/storage/storage-url-error.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const options = { timeoutMs: 5000 };
const live = new AbortController().signal;

describe('file:', () => {
  it('opens an absolute path, percent-encoded or with a slash at its end', async () => {
    const tree = await TemporaryTree.create();
    await tree.put('/docker/registry/v2/x', Buffer.from('x'));
    for (const url of [
      `file://${tree.root}`,
      `file://${tree.root}/`,
      `file://${tree.root.replace('root', '%72oot')}`,
    ]) {
      const driver = await openStorage(url, options);
      expect(driver.name).toBe('file');
      expect((await driver.stat('/docker/registry/v2/x', live)).size).toBe(1);
      await driver.close();
    }
    await tree.delete();
  });

  it('new=true starts on a registry nobody has pushed to yet', async () => {
    const tree = await TemporaryTree.create();
    for (const [query, isGood] of [
      ['', false],
      ['?new=false', false],
      ['?new=true', true],
    ] as const) {
      const driver = await openStorage(`file://${tree.outside}${query}`, options);
      const check = driver.check(live);
      if (isGood) await check;
      else await expect(check).rejects.toThrow(/does not hold/);
      await driver.close();
    }
    await tree.delete();
  });

  it('also= may be given more than once, with a slash at its end or percent-encoded', async () => {
    const tree = await TemporaryTree.create();
    await mkdir(join(tree.root, 'docker/registry/v2/repositories'));
    for (const name of ['one', 'two']) {
      await mkdir(join(tree.outside, name));
      await writeFile(join(tree.outside, name, 'x'), name);
      await symlink(join(tree.outside, name), join(tree.root, 'docker/registry/v2/repositories', name));
    }
    const also = `also=${tree.outside}/one/&also=${encodeURIComponent(`${tree.outside}/two`)}`;
    const driver = await openStorage(`file://${tree.root}?new=true&${also}`, options);
    for (const name of ['one', 'two'])
      expect((await driver.stat(`/docker/registry/v2/repositories/${name}/x`, live)).size).toBe(3);
    await driver.close();
    await tree.delete();
  });

  it.each([
    'file:relative',
    'file:/one-slash',
    'file://host/path',
    'file://localhost/path',
    'file:///path#fragment',
    'file:///bad%',
    'file:///a%2Fb',
    'file:///nul%00',
    'file:///x?new=yes',
    'file:///x?new',
    'file:///x?new=true&new=true',
    'file:///x?news=true',
    'file:///x?also',
    'file:///x?also=relative',
    'file:///x?also=/volume&also=%2Fnul%00',
  ])('%s is refused in one line', async (url) => {
    await expectOneLine(openStorage(url, options));
  });
});

describe('s3:', () => {
  it.each([
    's3:bucket',
    's3://',
    's3:///prefix',
    's3://key:hunter2@bucket/',
    's3://bucket#fragment',
    's3://bucket/bad%',
    's3://bucket/line%0Abreak',
    's3://bucket?secret-key=hunter2',
    's3://bucket?region=',
    's3://bucket?region=a&region=b',
    's3://bucket?path-style=hunter2',
    's3://bucket?connections=0',
    's3://bucket?connections=10001',
    's3://bucket?connections=1e3',
    's3://bucket?endpoint=hunter2',
    's3://bucket?endpoint=ftp://hunter2',
    's3://bucket?endpoint=http://user:hunter2@host',
    's3://bucket?redirect-endpoint=https://host?x=hunter2',
  ])('%s is refused in one line that tells no secret', async (url) => {
    const message = await expectOneLine(openStorage(url, options));
    expect(message).not.toContain('hunter2');
  });

  it('without a region anywhere is refused in one line', async () => {
    for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) vi.stubEnv(name, undefined);
    vi.stubEnv('AWS_CONFIG_FILE', '/no/such/file');
    try {
      expect(await expectOneLine(openStorage('s3://bucket', options))).toContain('AWS_REGION');
      vi.stubEnv('AWS_REGION', 'eu-central-1');
      await (await openStorage('s3://bucket', options)).close();
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe('azblob:', () => {
  it.each([
    'azblob:account/container',
    'azblob://account',
    'azblob://account/',
    'azblob://Account_1/container',
    'azblob://account/-container',
    'azblob://account:hunter2@host/container',
    'azblob://account/container#fragment',
    'azblob://account/container/bad%',
    'azblob://account/container?sig=hunter2',
    'azblob://account/container?path-style=true',
    'azblob://account/container?endpoint=https://host?sig=hunter2',
    'azblob://account/container?connections=none',
    'azblob://account/container?leading-slash=hunter2',
  ])('%s is refused in one line that tells no secret', async (url) => {
    const message = await expectOneLine(openStorage(url, options));
    expect(message).not.toContain('hunter2');
  });

  it.each([
    ['no credentials', {}, 'AZURE_STORAGE_KEY'],
    ['a key that is none', { AZURE_STORAGE_KEY: 'hunter2!' }, 'base64'],
    [
      'a connection string of another account',
      { AZURE_STORAGE_CONNECTION_STRING: 'AccountName=other;AccountKey=aHVudGVyMg==' },
      'another account',
    ],
  ])('with %s is refused in one line that tells no secret', async (_, environment, reason) => {
    const names = ['AZURE_STORAGE_KEY', 'AZURE_STORAGE_SAS_TOKEN', 'AZURE_STORAGE_CONNECTION_STRING'];
    for (const name of names) vi.stubEnv(name, undefined);
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    try {
      const message = await expectOneLine(openStorage('azblob://account/container', options));
      expect(message).toContain(reason);
      expect(message).not.toMatch(/hunter2|aHVudGVyMg/);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe('unknown', () => {
  it.each(['', 'nonsense', '/var/lib/registry', 'ftp://user:secret@host/x', 'S4://bucket?key=secret', ':'])(
    '%j is refused in one line that tells no secret',
    async (url) => {
      const message = await expectOneLine(openStorage(url, options));
      expect(message).not.toContain('secret');
    },
  );
});

describe('module:', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'layercache modules-'));
    const driver = `{ name: 'own', open: async () => {}, stat: async () => ({ size: 7, version: parameters.get('v') }),
      readSmall: async () => new Uint8Array(), check: async () => {}, redirectUrl: async () => undefined,
      close: async () => { globalThis.layercacheClosed = parameters.get('v'); } }`;
    const sources: Record<string, string> = {
      default: `export default (parameters) => (${driver});`,
      named: `export async function open(parameters) { return ${driver}; }`,
      slow: `export default (parameters) => new Promise((resolve) => { globalThis.layercacheGo = () => resolve(${driver}); });`,
      none: 'export const other = 1;',
      value: 'export default 1;',
      nothing: 'export default () => undefined;',
      lacking: "export default () => ({ name: 'own', open() {}, stat() {}, readSmall() {}, check() {} });",
      nameless: `export default (parameters) => ({ ...${driver}, name: '' });`,
      throwing: "export default () => { throw new Error('first line\\nsecond line'); };",
      broken: "throw new Error('at its top');",
      syntax: 'export default (',
    };
    for (const [name, source] of Object.entries(sources))
      await writeFile(join(folder, `${name}.mjs`), source);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(['default', 'named'])(
    'opens a driver from its %s export, and hands it the parameters',
    async (name) => {
      const driver = await openStorage(`module:${encodeURI(folder)}/${name}.mjs?v=one&other=2`, options);
      expect(driver.name).toBe('own');
      expect(await driver.stat('/a', live)).toEqual({ size: 7, version: 'one' });
      await driver.close();
    },
  );

  it('takes the path from the working directory', async () => {
    const driver = await openStorage('module:./test/parts/memory-driver.mjs?store=open', options);
    await driver.check(live);
    await driver.close();
  });

  it.each([
    ['none', /exports no function/],
    ['value', /exports no function/],
    ['nothing', /opened no driver/],
    ['lacking', /lacks redirectUrl, close/],
    ['nameless', /lacks a name/],
    ['throwing', /first line$/],
    ['broken', /at its top/],
    ['syntax', /cannot be opened/],
    ['missing', /cannot be opened/],
  ])('%s is refused in one line', async (name, reason) => {
    const message = await expectOneLine(
      openStorage(`module:${encodeURI(folder)}/${name}.mjs?password=secret`, options),
    );
    expect(message).toMatch(reason);
    expect(message).not.toContain('secret');
  });

  it.each(['module:', 'module:?a=b', 'module:./bad%'])('%s is refused in one line', async (url) => {
    await expectOneLine(openStorage(url, options));
  });

  it('one that does not answer is refused at the deadline, and closed when it opens later', async () => {
    const message = await expectOneLine(
      openStorage(`module:${encodeURI(folder)}/slow.mjs?v=late`, { timeoutMs: 300 }),
    );
    expect(message).toMatch(/did not answer within 300 ms/);
    const world = globalThis as { layercacheGo?: () => void; layercacheClosed?: string };
    world.layercacheGo?.();
    await expect.poll(() => world.layercacheClosed).toBe('late');
  });
});

describe('describeStorage', () => {
  it.each([
    ['file:///var/lib/registry', 'file:///var/lib/registry'],
    ['file:///var/lib/registry?new=true', 'file:///var/lib/registry?new=true'],
    ['module:./driver.js', 'module:./driver.js'],
    ['module:./driver.js?token=secret&region=x&token=y', 'module:./driver.js?token=…&region=…'],
    ['s3://bucket/root?region=eu-central-1', 's3://bucket/root?region=eu-central-1'],
    ['s3://key:secret@bucket', 's3:…'],
    ['azblob://account/container/root', 'azblob://account/container/root'],
    ['secret', ':…'],
  ])('%s is told as %s', (url, told) => {
    expect(describeStorage(url)).toBe(told);
  });
});

async function expectOneLine(opening: Promise<unknown>): Promise<string> {
  const error = await opening.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StorageUrlError);
  const { message } = error as StorageUrlError;
  expect(message).not.toContain('\n');
  return message;
}
