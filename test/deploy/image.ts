/** What the Dockerfile gives every container of its image. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../parts/docs-pages.js';

const text = (await readFile(join(root, 'Dockerfile'), 'utf8')).replaceAll(/\\\n\s*/g, '');

/** Variables of ours that are set in the image. */
export const imageEnvironment: Readonly<Record<string, string>> = Object.fromEntries(
  Array.from(text.matchAll(/(LAYERCACHE_\w+)=(\S+)/g), ([, name = '', value = '']) => [name, value]),
);
