/** `layercache config`, and `--config` of the commands that take it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCommandLine } from '../../src/cli/command-line.js';
import type { Digest } from '../../src/reference/digest.js';
import { LayerClient } from '../parts/layer-client.js';
import { type RunOptions, run } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

let folder: string;
let tree: TemporaryTree;
let redis: RedisServer;
let digest: Digest;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-config-'));
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  redis = await RedisServer.start();
});
afterAll(async () => {
  await redis.stop();
  await tree.delete();
  await rm(folder, { recursive: true, force: true });
});

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

const check = (args: readonly string[], options: RunOptions = {}) =>
  run(['config', 'check', ...args], { cwd: folder, ...options });

describe('layercache config check', () => {
  it('prints what is in force and where it was said, without secrets', async () => {
    await write('good.yaml', 'cache: redis://user:hunter2@h:6379/1\nverify: off\nmax-streams: 7\n');
    const { code, stdout, stderr } = await check(['--config=good.yaml', '--max-streams=8'], {
      env: { LAYERCACHE_VERIFY: 'always', LAYERCACHE_TRANSPORT: '' },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(lines).toContainEqual(['cache', 'redis://***@h:6379/1', 'good.yaml:1']);
    expect(lines).toContainEqual(['verify', 'always', 'LAYERCACHE_VERIFY']);
    expect(lines).toContainEqual(['max-streams', '8', 'command line']);
    expect(lines).toContainEqual(['storage-timeout', '10s', 'default']);
    expect(lines).toContainEqual(['tls-cert', '-', 'default']);
    expect(lines).toContainEqual(['config', 'good.yaml', 'command line']);
    expect(stdout).not.toContain('hunter2');
  });

  it('prints it as JSON, one option a line', async () => {
    await write('json.yaml', 'verify: off\n');
    const { code, stdout } = await check(['--json'], { env: { LAYERCACHE_CONFIG: 'json.yaml' } });
    expect(code).toBe(0);
    const settings = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(settings).toContainEqual({
      option: 'verify',
      value: 'off',
      from: 'file',
      file: 'json.yaml',
      line: 1,
    });
    expect(settings).toContainEqual({
      ...{ option: 'config', value: 'json.yaml', from: 'environment', variable: 'LAYERCACHE_CONFIG' },
    });
    expect(settings).toContainEqual({ option: 'chunk-size', value: '2MiB', from: 'default' });
  });

  it('says all that is wrong, one line each, and exits with 2', async () => {
    await write('bad.yaml', 'colour: red\nverify: no\n');
    const env = { LAYERCACHE_CHUNK_SIZE: 'big' };
    const { code, stdout, stderr } = await check(['--config=bad.yaml', '--workers=none'], { env });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe(
      [
        'layercache: bad.yaml:1: colour is no option of serve that a file may set',
        'layercache: bad.yaml:2: verify must be one of first, always, off',
        'layercache: --chunk-size (from LAYERCACHE_CHUNK_SIZE) must be a size such as 256KiB, from 4KiB to 2MiB',
        'layercache: --workers must be a whole number from 1 to 256, or auto',
        '',
      ].join('\n'),
    );
    const json = await check(['--config=bad.yaml', '--json']);
    expect(json.code).toBe(2);
    expect(
      json.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))[0],
    ).toEqual({
      problem: 'bad.yaml:1: colour is no option of serve that a file may set',
      file: 'bad.yaml',
      line: 1,
    });
  });

  it.each([
    [['--tls-cert=/c'], 'layercache: --tls-cert needs --tls-key\n'],
    [['--cache=foo:'], /^layercache: --cache: unknown scheme: a cache is memory:, .*\n$/],
    [['--storage=file:///a?b=c'], 'layercache: --storage: a file storage has no parameter "b"\n'],
    [['--cache=foo:', '--storage=bar:'], /^layercache: --cache: .*\nlayercache: --storage: .*\n$/],
    [['--config=absent.yaml'], 'layercache: --config: absent.yaml: there is no such file\n'],
    [['--config=.'], 'layercache: --config: .: it is no file\n'],
  ])('finds what only shows together or when it is opened: %j', async (args, line) => {
    const { code, stderr } = await check(args);
    expect(stderr).toMatch(line);
    expect(code).toBe(2);
  });

  it('another action is asked wrongly', async () => {
    const { code, stderr } = await run(['config', 'destroy']);
    expect(stderr).toBe('layercache: ACTION must be one of check, schema; see layercache config --help\n');
    expect(code).toBe(2);
  });
});

it('layercache config schema prints the JSON schema', async () => {
  const { code, stdout } = await run(['config', 'schema']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ type: 'object', additionalProperties: false });
});

describe('a file that is wrong ends the start in one line that names file, line and key', () => {
  it.each([['serve'], ['health'], ['warm'], ['audit']])('%s', async (command) => {
    await write('wrong.yaml', 'verify: off\nstorage-timeout: soon\nchunk-size: big\n');
    const { code, stdout, stderr } = await run([command, '--config=wrong.yaml'], { cwd: folder });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(
      /^layercache: wrong\.yaml:2: storage-timeout must be a duration .* \(and 1 more: layercache config check\); see .*\n$/,
    );
  });

  it('a large one is not read', async () => {
    const path = await write('large.yaml', `# ${'x'.repeat(65_536)}\n`);
    const invocation = await parseCommandLine(['--config', path], {}, '1');
    expect(invocation).toMatchObject({ code: 2, text: expect.stringContaining('larger than 65536 bytes') });
  });
});

describe('the commands that take it', () => {
  it('serve, and health asks where it says', async () => {
    const path = await write(
      'serve.yaml',
      `storage: file://${tree.root}\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\nmax-streams: 17\n`,
    );
    const server = await startServer([`--config=${path}`]);
    await server.readyz(200);
    const page = await (await fetch(`http://${server.admin}/`)).text();
    expect(page).toContain('>17<');
    const probed = await write('probe.yaml', `admin: ${server.admin}\n`);
    expect(await run(['health', `--config=${probed}`])).toMatchObject({ code: 0 });
    expect(await run(['health'], { env: { LAYERCACHE_CONFIG: probed } })).toMatchObject({ code: 0 });
  });

  it('serve with several workers, which get the same', async () => {
    const path = await write(
      'workers.yaml',
      `cache: ${redis.url}/3\nstorage: file://${tree.root}\nworkers: 2\nchunk-size: 4KiB\n`,
    );
    const server = await startServer([`--config=${path}`]);
    await server.logged(({ msg, worker }) => msg === 'a worker is up' && worker === 2);
    const client = new LayerClient(server.listen);
    try {
      expect(await client.exists('demo/app', digest)).toMatchObject({ exists: true });
    } finally {
      client.close();
    }
    const asked = await redis.client({ db: 3 });
    await expect.poll(() => asked.keys('*')).toContainEqual(expect.stringContaining('demo/app'));
  });

  it('warm and audit', async () => {
    const path = await write(
      'walk.yaml',
      `cache: ${redis.url}/4\nstorage: file://${tree.root}\nworkers: 2\n`,
    );
    const warmed = await run(['warm', `--config=${path}`]);
    expect(warmed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^warmed 1 layers of 1 repo/) });
    const audited = await run(['audit'], { env: { LAYERCACHE_CONFIG: path } });
    expect(audited).toMatchObject({ code: 0, stdout: expect.stringContaining('found nothing wrong') });
    // The command line wins over the file.
    const other = await run(['warm', `--config=${path}`, '--storage=file:///nowhere']);
    expect(other).toMatchObject({ code: 3, stderr: expect.stringContaining('/nowhere does not exist') });
  });
});
