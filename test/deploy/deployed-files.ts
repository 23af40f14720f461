/** The files of deploy/. */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { parse } from 'yaml';
import { root } from '../parts/docs-pages.js';

export const deploy = join(root, 'deploy');

export async function readYaml(name: string): Promise<unknown> {
  return parse(await readFile(join(deploy, name), 'utf8'));
}

/** All of them by their path below deploy/. */
export async function readDeployed(): Promise<{ name: string; text: string }[]> {
  const entries = await readdir(deploy, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    files.map(async (file) => ({
      name: relative(deploy, file).split(sep).join('/'),
      text: await readFile(file, 'utf8'),
    })),
  );
}
