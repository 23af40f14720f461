import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Diagnostics } from '../../src/telemetry/diagnostics.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-diagnostics-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const brief = { kind: 'cpu', seconds: 0.01 } as const;

async function fileOf(diagnostics: Diagnostics, kind: 'cpu' | 'heap'): Promise<string> {
  const result = await diagnostics.run(kind === 'cpu' ? brief : { kind });
  if (!('file' in result)) throw new Error(result.problem);
  return result.file;
}

it('a profile and a snapshot are what developer tools read, for the owner alone', async () => {
  const diagnostics = await Diagnostics.open(folder, 'server');
  const profile = await fileOf(diagnostics, 'cpu');
  expect(profile).toMatch(/\/layercache-server-\d{8}T\d{9}Z-\d+\.cpuprofile$/);
  const { nodes, endTime, startTime } = JSON.parse(await readFile(profile, 'utf8'));
  expect(nodes.length).toBeGreaterThan(0);
  expect(endTime).toBeGreaterThan(startTime);
  const heap = await fileOf(diagnostics, 'heap');
  expect(JSON.parse(await readFile(heap, 'utf8')).snapshot.node_count).toBeGreaterThan(1000);
  for (const file of [profile, heap]) expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it('one is made at a time', async () => {
  const diagnostics = await Diagnostics.open(folder, 'server');
  const first = diagnostics.run({ kind: 'cpu', seconds: 60 });
  expect(await diagnostics.run({ kind: 'heap' })).toEqual({
    problem: 'another one is being made',
    busy: true,
  });
  // Closing ends it, and keeps what there is.
  await diagnostics.close();
  expect(await first).toEqual({ file: expect.stringContaining('.cpuprofile') });
  expect(await readdir(folder)).toHaveLength(1);
});

it('the newest five of a process are kept, and what is not ours', async () => {
  const diagnostics = await Diagnostics.open(folder, 'worker-1');
  const others = ['notes.txt', 'layercache-worker-11-20200101T000000000Z-1.cpuprofile'];
  for (const name of others) await writeFile(join(folder, name), '');
  // A crash left it.
  await writeFile(join(folder, 'layercache-worker-1-20200101T000000000Z-1.heapsnapshot.part'), '');
  const files: string[] = [];
  for (let count = 0; count < 7; count++) files.push(await fileOf(diagnostics, 'cpu'));
  expect(new Set(files).size).toBe(7);
  const kept = (await readdir(folder)).map((name) => join(folder, name)).sort();
  expect(kept).toEqual([...files.slice(-5), ...others.map((name) => join(folder, name))].sort());
});

it('a folder that is gone, or is none', async () => {
  const diagnostics = await Diagnostics.open(folder, 'server');
  await rm(folder, { recursive: true });
  expect(await diagnostics.run(brief)).toEqual({ problem: expect.stringContaining('ENOENT') });
  await expect(Diagnostics.open(folder, 'server')).rejects.toThrow(`${folder} does not exist`);
  await writeFile(folder, '');
  await expect(Diagnostics.open(folder, 'server')).rejects.toThrow(`${folder} is no directory`);
});
