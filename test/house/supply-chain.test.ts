/** What comes from others: that it is pinned, runs nothing when it is installed, and can be listed. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const readJson = async (file: string) => JSON.parse(await readFile(join(root, file), 'utf8'));

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly engines?: { readonly node?: string };
  readonly hasInstallScript?: boolean;
}

const manifest = await readJson('package.json');
const { packages }: { packages: Record<string, Locked> } = await readJson('package-lock.json');
const production = Object.entries(packages).filter(([path, { dev }]) => path !== '' && dev !== true);
const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

it('each package in production is one version with its hash', () => {
  expect(production.length).toBeGreaterThan(20);
  expect(
    production.filter(([, { version, integrity }]) => !version || !integrity?.startsWith('sha512-')),
  ).toEqual([]);
  const { dependencies, optionalDependencies, devDependencies, overrides } = manifest;
  const wanted = Object.entries({
    ...dependencies,
    ...optionalDependencies,
    ...devDependencies,
    ...overrides,
  });
  expect(wanted.filter(([, range]) => !/^\d+\.\d+\.\d+$/.test(String(range)))).toEqual([]);
});

it('each optional package can be installed where npm runs on Node 20', () => {
  // npm leaves out an optional package that wants a newer Node than its own, and says nothing.
  const optional = production.filter(([, { optional }]) => optional === true);
  expect(optional.length).toBeGreaterThan(20);
  const wants = optional.map(([path, { engines }]) => [
    path,
    Number(/>=\s*(\d+)/.exec(engines?.node ?? '')?.[1] ?? 0),
  ]);
  expect(wants.filter(([, major]) => Number(major) > 20)).toEqual([]);
});

it('no package in production runs a script when it is installed', () => {
  const scripted = production
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => nameOf(path));
  expect(scripted.filter((name) => manifest.allowScripts[name] !== false)).toEqual([]);
});

it('npm run sbom lists what is in production, and nothing else', async () => {
  const { stdout } = await promisify(execFile)('npm', ['run', '-s', 'sbom'], {
    cwd: root,
    maxBuffer: 16 << 20,
  });
  const { bomFormat, components } = JSON.parse(stdout);
  expect(bomFormat).toBe('CycloneDX');
  const listed = components.map(({ name, group }: { name: string; group?: string }) =>
    group ? `${group}/${name}` : name,
  );
  expect(new Set(listed)).toEqual(new Set(production.map(([path]) => nameOf(path))));
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }))
    expect(listed).toContain(name);
});
