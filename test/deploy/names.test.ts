/** Variables that are named anywhere in deploy/, its comments included. */
import { expect, it } from 'vitest';
import { outlines } from '../../src/cli/command-list.js';
import { environmentName } from '../../src/cli/options.js';
import { readPage } from '../parts/docs-pages.js';
import { readDeployed } from './deployed-files.js';

async function named(pattern: RegExp): Promise<Set<string>> {
  const files = await readDeployed();
  return new Set(files.flatMap(({ text }) => Array.from(text.matchAll(pattern), ([name]) => name)));
}

it('are variables of the program', async () => {
  const known = outlines().flatMap(({ options }) => Object.keys(options).map(environmentName));
  const names = await named(/\bLAYERCACHE_[A-Z_]+/g);
  expect(names.size).toBeGreaterThan(8);
  expect([...names].filter((name) => !known.includes(name))).toEqual([]);
});

it('or are of OpenTelemetry, and docs/telemetry.md lists them', async () => {
  const { text } = await readPage('docs/telemetry.md');
  const names = await named(/\bOTEL_[A-Z_]+/g);
  expect(names.size).toBeGreaterThan(4);
  expect([...names].filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});
