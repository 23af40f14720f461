/** What `npm run release` writes once all checks have passed. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-release-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Writes a release into a folder of that name and returns its files. */
async function release(name: string): Promise<Map<string, Buffer>> {
  const into = join(folder, name);
  await run(process.execPath, ['tools/release.mjs', '--preview', into], { cwd: root });
  const names = await readdir(into);
  return new Map(
    await Promise.all(names.sort().map(async (each) => [each, await readFile(join(into, each))] as const)),
  );
}

function sha256(bytes: Buffer | undefined): string {
  return createHash('sha256')
    .update(bytes ?? '')
    .digest('hex');
}

it('has the same bytes when it is made twice, its checksums among them', async () => {
  const first = await release('first');
  const second = await release('second');
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const prefix = `layercache-${version}`;
  expect([...first.keys()]).toEqual([
    'SHA256SUMS',
    ...['.binpb', '.cdx.json', '.intoto.json', '.md', '.proto', '.tgz'].map((end) => prefix + end),
  ]);
  expect([...second].filter(([name, bytes]) => !first.get(name)?.equals(bytes))).toEqual([]);

  const sums = [...first].filter(([name]) => name !== 'SHA256SUMS');
  expect(first.get('SHA256SUMS')?.toString()).toBe(
    sums.map(([name, bytes]) => `${sha256(bytes)}  ${name}\n`).join(''),
  );
  const { subject } = JSON.parse(String(first.get(`${prefix}.intoto.json`)));
  expect(subject).toEqual([
    { name: `${prefix}.tgz`, digest: { sha256: sha256(first.get(`${prefix}.tgz`)) } },
  ]);
  expect(String(first.get(`${prefix}.md`))).toMatch(/^### /m);
  const { metadata } = JSON.parse(String(first.get(`${prefix}.cdx.json`)));
  expect(metadata.component).toMatchObject({ name: 'layercache', version });
}, 60_000);

it('refuses a version that the changelog does not know, in one line', async () => {
  const changelog = await readFile(join(root, 'CHANGELOG.md'), 'utf8');
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const made = run(process.execPath, ['tools/release.mjs', join(folder, 'final')], { cwd: root });
  if (changelog.includes(`## [${version}]`)) {
    expect((await made).stdout).toContain(`layercache-${version}.tgz`);
  } else {
    await expect(made).rejects.toMatchObject({
      code: 1,
      stderr: `release: CHANGELOG.md has no section [${version}]\n`,
    });
  }
});
