/** The log of several workers. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LineBuffer } from '../../src/workers/line-buffer.js';
import type { LayercacheProcess } from '../parts/layercache-process.js';
import { parsePrometheus } from '../parts/prometheus-families.js';
import { until, WorkersWorld } from '../parts/workers-world.js';

/** The longest name that there is, so that lines are long. */
const repository = `${'a'.repeat(250)}/demo`;
const absent = `sha256:${'0'.repeat(64)}`;
const deadly = `sha256:${'f'.repeat(64)}`;
const talkative = `sha256:${'e'.repeat(64)}`;
/** More than a pipe holds, and than it takes at once. */
const length = 300_000;

let world: WorkersWorld;
let driver: string;
beforeAll(async () => {
  world = await WorkersWorld.open();
  driver = join(world.tree.outside, 'talkative.mjs');
  await writeFile(
    driver,
    `const absent = async () => { throw Object.assign(new Error('no'), { name: 'PathNotFoundError' }); };
     const readSmall = (path) => {
       if (path.includes('ffff')) setTimeout(() => { throw new Error('x'.repeat(${length})); });
       if (path.includes('eeee')) process.stdout.write(JSON.stringify({ said: 'x'.repeat(${length}) }) + '\\n');
       return absent();
     };
     export default () => ({
       name: 'talkative', open: absent, stat: absent, readSmall, redirectUrl: absent,
       check: async () => {}, close: async () => {},
     });`,
  );
});
afterAll(() => world.close());

async function dropped({ admin }: LayercacheProcess): Promise<number> {
  const families = parsePrometheus(await (await fetch(`http://${admin}/metrics`)).text());
  return families.get('layercache_log_dropped_total')?.samples[0]?.value ?? Number.NaN;
}

/** A server whose log nobody reads, and which has begun to drop lines. */
async function unread(): Promise<LayercacheProcess> {
  const server = await world.start(`--storage=module:${driver}`, '--access-log=off');
  server.ignoreLog();
  const clients = Array.from({ length: 4 }, () => world.connect(server));
  await until(async () => {
    await Promise.all(clients.map((client) => client.exists(repository, talkative)));
    return (await dropped(server)) > 0;
  });
  return server;
}

it('lines of workers never end up inside one another, however long', async () => {
  // Each line is parsed as it comes.
  const server = await world.start(`--storage=module:${driver}`);
  const clients = Array.from({ length: 4 }, () => world.connect(server));
  for (let round = 0; round < 2; round++) {
    const calls = clients.flatMap((client) =>
      Array.from({ length: 100 }, () => client.exists(repository, absent)),
    );
    await Promise.all(calls);
  }
  await until(() => server.log.filter((line) => line['rpc'] !== undefined).length === 800);
  const crashes = clients.map((client) => client.exists(repository, deadly).catch(() => {}));
  await Promise.all(crashes);
  const fatal = () => server.log.filter((line) => line['level'] === 'fatal');
  await until(() => new Set(fatal().map((line) => line['worker'])).size === 2);
  for (const line of fatal()) expect(line['err']).toMatchObject({ message: 'x'.repeat(length) });
});

it('pieces of lines are put together, and what never ends is left out', () => {
  const passed: string[] = [];
  const lines = new LineBuffer((text) => passed.push(text));
  for (const piece of ['a', 'b\nc', '\n', 'd\ne\nf']) lines.write(piece);
  lines.write('x'.repeat(2 << 20));
  lines.write('y\nz\n');
  expect(passed).toEqual(['ab\n', 'c\n', 'd\ne\n', 'z\n']);
});

it('a log that nobody reads is dropped and counted, and delays neither calls nor the end', async () => {
  const server = await unread();
  server.signal('SIGTERM');
  // Its thread hangs in a write, so that only a signal ends it.
  expect(await server.exited()).toBeNull();
});

it('a log that is read again continues, and says how many lines are missing', async () => {
  const server = await unread();
  const missing = await dropped(server);
  server.readLog();
  expect(await server.logged((line) => line['dropped'] !== undefined)).toMatchObject({
    level: 'warn',
    dropped: missing,
  });
  server.signal('SIGTERM');
  expect(await server.exited()).toBe(0);
});
