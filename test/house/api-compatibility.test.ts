/** The API stays what the last release promised: `buf breaking`, as the lint command runs it. */
import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const buf = join(root, 'node_modules', '.bin', 'buf');

let folder: string;
let proto: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-api-'));
  for (const part of ['proto', 'buf.yaml'])
    await cp(join(root, part), join(folder, part), { recursive: true });
  proto = await readFile(join(root, 'proto/layercache/v1/layer_cache.proto'), 'utf8');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What buf says of a proto with that replaced. */
async function breaking(from: string, to: string) {
  expect(proto).toContain(from);
  await writeFile(join(folder, 'proto/layercache/v1/layer_cache.proto'), proto.replace(from, to));
  const args = ['breaking', 'proto', '--against', 'proto/released/layercache.binpb'];
  const { status, stdout, stderr } = spawnSync(buf, args, { cwd: folder, encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

it('the lint command compares with the release', async () => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  expect(scripts.lint).toContain('buf breaking proto --against proto/released/layercache.binpb');
  expect(await breaking('syntax', 'syntax')).toEqual({ status: 0, said: '' });
});

it.each([
  ["a field's number", 'int64 offset = 3;', 'int64 offset = 9;'],
  ["a field's type", 'int64 limit = 4;', 'int32 limit = 4;'],
  ['a call that is gone', 'rpc Remove(RemoveRequest) returns (RemoveResponse);', ''],
  ['where generated code lies', 'option go_package = "layercache/v1', 'option go_package = "layercache/v2'],
])('%s breaks clients', async (_, from, to) => {
  expect(await breaking(from, to)).toMatchObject({ status: 100 });
});

it('a new field breaks nobody', async () => {
  const added = await breaking('int64 limit = 4;', 'int64 limit = 4;\n  // New.\n  bool more = 8;');
  expect(added).toEqual({ status: 0, said: '' });
});
