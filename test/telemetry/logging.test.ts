import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openLogAt } from '../../src/telemetry/logging.js';
import { LogLines } from '../parts/log-lines.js';

const loggingModule = new URL('../../src/telemetry/logging.ts', import.meta.url).href;
/** Lets a process of the tests import `.js` names of sources. */
const sources = new URL('../../tools/typescript-sources.mjs', import.meta.url).href;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'layercache-log-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

it('writes JSON lines where stdout is no terminal, complete after a flush', async () => {
  const file = join(directory, 'log');
  const fd = openSync(file, 'w');
  const { log, flush } = await openLogAt(fd, 'info', false);
  for (let i = 0; i < 1000; i++) log.info({ i }, 'hello');
  log.debug('not at this level');
  await flush();
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  expect(lines).toHaveLength(1000);
  const last = JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
  expect(Object.keys(last).sort()).toEqual(['i', 'level', 'msg', 'time']);
  expect(last).toMatchObject({ level: 'info', i: 999, msg: 'hello' });
  expect(new Date(String(last['time'])).getTime()).toBeGreaterThan(0);
  closeSync(fd);
});

it('writes lines for people on a terminal', async () => {
  const file = join(directory, 'log');
  const fd = openSync(file, 'w');
  const { log, flush } = await openLogAt(fd, 'info', true);
  log.info({ listen: '127.0.0.1:50051' }, 'listening');
  await flush();
  const text = await readFile(file, 'utf8');
  expect(text).toContain('listening');
  expect(text).toContain('listen');
  expect(text).not.toContain('{"level"');
  closeSync(fd);
});

it('drops and counts lines beyond its bound while the reader hangs', async () => {
  const fifo = join(directory, 'fifo');
  expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
  // Opened for both, so that opening does not wait for a reader.
  const fd = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  const { log, dropped, flush } = await openLogAt(fd, 'info', false);
  const before = process.memoryUsage().rss;
  const line = 'x'.repeat(1 << 20);
  for (let i = 0; i < 200; i++) log.info(line);
  expect(await flush()).toBe(false);
  expect(dropped()).toBeGreaterThanOrEqual(192);
  expect(dropped()).toBeLessThan(195);
  expect(process.memoryUsage().rss - before).toBeLessThan(100 << 20);
  closeSync(fd);
});

it('hands every line to a pipe before the process ends', () => {
  const script = `
    const { openLog } = await import(${JSON.stringify(loggingModule)});
    const { log, flush } = await openLog('info', false);
    for (let i = 0; i < 2000; i++) log.info('x'.repeat(1000));
    const handedOver = await flush();
    process.exit(handedOver ? 0 : 1);
  `;
  const { stdout } = spawnSync(
    'sh',
    [
      '-c',
      '{ "$NODE" --experimental-strip-types --import "$SOURCES" --input-type=module -e "$SCRIPT"; echo "exit $?"; } | cat',
    ],
    {
      env: {
        ...process.env,
        NODE: process.execPath,
        SCRIPT: script,
        SOURCES: sources,
        NODE_NO_WARNINGS: '1',
      },
      maxBuffer: 16 << 20,
    },
  );
  const lines = stdout.toString().trimEnd().split('\n');
  expect(lines).toHaveLength(2001);
  expect(lines.at(-1)).toBe('exit 0');
  for (const line of lines.slice(0, -1)) expect(() => JSON.parse(line)).not.toThrow();
});

it('tells of a reader that hangs, so that the process can end all the same', async () => {
  const script = `
    const { openLog } = await import(${JSON.stringify(loggingModule)});
    const { log, flush } = await openLog('info', false);
    for (let i = 0; i < 2000; i++) log.info('x'.repeat(1000));
    process.kill(process.pid, (await flush()) ? 'SIGUSR2' : 'SIGKILL');
  `;
  const child = spawn(
    process.execPath,
    ['--experimental-strip-types', '--no-warnings', '--import', sources, '--input-type=module', '-e', script],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    // Nobody reads its stdout.
    const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    expect(signal).toBe('SIGKILL');
  } finally {
    child.kill('SIGTERM');
    child.stdout.destroy();
  }
});

it('an error keeps its causes and stack, and nothing that a client library hung on it', () => {
  const { log, lines } = new LogLines();
  const reply = Object.assign(new Error('WRONGPASS'), { command: { name: 'auth', args: ['s3cret'] } });
  const error = Object.assign(new Error('the cache failed', { cause: reply }), {
    code: 'ECONNREFUSED',
    previous: reply,
  });
  log.error({ err: error }, 'x');
  expect(lines[0]?.['err']).toEqual({
    type: 'Error',
    message: expect.stringContaining('the cache failed'),
    code: 'ECONNREFUSED',
    stack: expect.stringContaining('WRONGPASS'),
  });
  expect(JSON.stringify(lines)).not.toContain('s3cret');
  log.error({ err: 'a string' }, 'x');
  expect(lines[1]?.['err']).toBe('a string');
});
