/**
 * Prints what is in production as a CycloneDX list, by `npm sbom`. Its own
 * `--omit dev` leaves out whatever a development dependency needs too (npm 11),
 * so it is asked about a copy of the manifest that knows no development.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const read = (file) => JSON.parse(readFileSync(join(root, file), 'utf8'));

const { devDependencies: _, allowScripts: __, ...manifest } = read('package.json');
const lock = read('package-lock.json');
delete lock.packages[''].devDependencies;
for (const [path, { dev }] of Object.entries(lock.packages)) if (dev) delete lock.packages[path];

const temporary = mkdtempSync(join(tmpdir(), 'layercache-sbom-'));
// npm names the list after the folder.
const folder = join(temporary, manifest.name);
try {
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(lock));
  const args = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'];
  process.stdout.write(execFileSync('npm', args, { cwd: folder, maxBuffer: 64 << 20 }));
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
