/** The package that `npm pack` makes, installed by npm in a folder of its own as somebody else's dependency. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);

interface Locked {
  /** Of nothing but what development needs; `devOptional` is of an optional package too. */
  readonly dev?: boolean;
}

export class InstalledPackage {
  /** Where a program finds `layercache` in `node_modules`. */
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Whoever installs one deletes it. */
  static async install(): Promise<InstalledPackage> {
    const folder = await mkdtemp(join(tmpdir(), 'layercache-installed-'));
    const pack = ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder];
    const tarball = (await run('npm', pack, { cwd: root })).stdout.trim();
    const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
    const own = { name: 'frontend', version: '1.0.0', dependencies: { layercache: `file:${tarball}` } };
    const production = Object.entries<Locked>(lock.packages).filter(([path, { dev }]) => path !== '' && !dev);
    const { version, dependencies, optionalDependencies, bin, engines } = manifest;
    const packages = {
      '': own,
      'node_modules/layercache': {
        ...{ version, resolved: `file:${tarball}`, dependencies, optionalDependencies, bin, engines },
      },
      // The versions that this package was tested with, which npm has in its cache.
      ...Object.fromEntries(production),
    };
    await writeFile(join(folder, 'package.json'), JSON.stringify(own));
    await writeFile(
      join(folder, 'package-lock.json'),
      JSON.stringify({ ...own, lockfileVersion: 3, requires: true, packages }),
    );
    const install = [
      'ci',
      '--prefer-offline',
      '--omit=optional',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
    ];
    await run('npm', install, { cwd: folder, timeout: 120_000 });
    return new InstalledPackage(folder);
  }

  get bin(): string {
    return join(this.folder, 'node_modules', '.bin', 'layercache');
  }

  /** Writes a file beside `node_modules`; gives its path. */
  async write(name: string, text: string): Promise<string> {
    const path = join(this.folder, name);
    await writeFile(path, text);
    return path;
  }

  delete(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}
