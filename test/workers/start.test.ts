/** Starting several workers: what is refused, and what of it one worker's failure is. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { resolveOption } from '../../src/cli/options.js';
import { run } from '../parts/layercache-process.js';
import { startServer } from '../parts/server-of-test.js';
import { until, WorkersWorld } from '../parts/workers-world.js';

let world: WorkersWorld;
beforeAll(async () => {
  world = await WorkersWorld.open();
});
afterAll(() => world.close());

const free = ['--listen=127.0.0.1:0', '--admin=127.0.0.1:0'];

describe('a mistake is one line on stderr, exit code 2', () => {
  it('memory: is not shared', async () => {
    const { code, stdout, stderr } = await run(['--workers=2', ...free]);
    expect(stderr).toMatch(/^layercache: --workers 2 needs a --cache that all workers share[^\n]+\n$/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it.each(['0', '257', '-1', '1.5', 'many', ''])('--workers=%j', async (value) => {
    if (value === '') {
      expect(resolveOption('workers', undefined, { LAYERCACHE_WORKERS: value })).toBe(1);
      return;
    }
    expect(() => resolveOption('workers', value, {})).toThrow(
      '--workers must be a whole number from 1 to 256, or auto',
    );
  });

  it.each([
    [['--storage=ftp://h/registry'], '--storage: unknown storage scheme ftp:'],
    [['--cache=redis://user:hunter2@host/nodb'], '--cache: '],
    [['--tls-cert=/no/such', '--tls-key=/no/such'], '--tls-cert: there is no such file'],
  ])('%j, which a worker finds, is told once', async (options, text) => {
    const { code, stdout, stderr } = await run([...world.args, ...free, ...options]);
    expect(stderr).toMatch(/^layercache: [^\n]+\n$/);
    expect(stderr).toContain(text);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

it.each(['--listen', '--admin'])('a port in use is one line on stderr, exit code 1: %s', async (option) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  onTestFinished(() => void other.close());
  const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
  const { code, stderr } = await run([...world.args, ...free, `${option}=${address}`]);
  expect(stderr).toBe(`layercache: cannot listen on ${address}: the address is in use\n`);
  expect(code).toBe(1);
});

it('a first worker that dies before it is up ends the server with one line, exit code 1', async () => {
  const driver = join(world.tree.outside, 'deadly.mjs');
  await writeFile(driver, 'process.kill(process.pid, "SIGKILL"); await new Promise(() => {});');
  const { code, stdout, stderr } = await run([...world.args, ...free, `--storage=module:${driver}`]);
  expect(stderr).toBe('layercache: worker 1 ended before it was up (SIGKILL)\n');
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
});

it('a worker that cannot start later is tried again, ever later, while the other serves', async () => {
  const driver = join(world.tree.outside, 'moody.mjs');
  await writeFile(driver, `export { default } from ${JSON.stringify(memoryDriver)};`);
  const server = await startServer([...world.args, `--storage=module:${driver}?store=s`]);
  await until(() => server.log.filter((line) => line.msg === 'a worker is up').length === 2);
  await writeFile(driver, 'syntax error');
  process.kill(server.workerPid(2), 'SIGKILL');
  const deaths = () => server.log.filter((line) => line.msg === 'a worker has died and is replaced');
  await until(() => deaths().length === 4);
  expect(deaths().map((line) => line['delayMs'])).toEqual([0, 100, 200, 400]);
  expect(deaths().at(-1)).toMatchObject({
    worker: 2,
    code: 2,
    reason: expect.stringMatching(/^--storage: /),
  });
  expect(server.running).toBe(true);
});
const memoryDriver = join(import.meta.dirname, '..', 'parts', 'memory-driver.mjs');

it('auto is one worker for each core that it may use', async () => {
  expect(resolveOption('workers', 'auto', {})).toBe(availableParallelism());
  const server = await startServer([...world.args, '--workers=auto']);
  expect(server.log.find((line) => line['listen'] !== undefined)?.['workers']).toBe(
    availableParallelism() > 1 ? availableParallelism() : undefined,
  );
});

it('one worker is one process, and loads nothing of this', async () => {
  const loads = join(world.tree.outside, 'loads.cjs');
  const list = join(world.tree.outside, 'loaded');
  await writeFile(
    loads,
    `const { registerHooks } = require('node:module');
     const { appendFileSync } = require('node:fs');
     registerHooks({ load(url, context, next) {
       appendFileSync(${JSON.stringify(list)}, url + '\\n');
       return next(url, context);
     } });`,
  );
  const server = await startServer([...world.args, '--workers=1'], {
    env: { NODE_OPTIONS: `--require ${loads}` },
  });
  const loaded = (await readFile(list, 'utf8')).split('\n');
  expect(loaded.filter((url) => /dist\/(bundle\/app|layercache)\.js$/.test(url))).toHaveLength(2);
  expect(loaded.filter((url) => /node:cluster|bundle\/supervisor|layercache-worker/.test(url))).toEqual([]);
  expect(readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8')).toBe('');
  expect(server.log.filter((line) => line['worker'] !== undefined || line['workers'] !== undefined)).toEqual(
    [],
  );
});
