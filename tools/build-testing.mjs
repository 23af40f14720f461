// Compiles `layercache/testing`. What it imports of the sources is what the build has made of them.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const compiled = join(root, 'dist', 'testing');

execFileSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', join(root, 'tsconfig.testing.json')], {
  stdio: 'inherit',
});
rmSync(join(compiled, 'src'), { recursive: true });
for (const folder of ['contract', 'parts'].map((name) => join(compiled, 'test', name)))
  for (const file of readdirSync(folder).map((name) => join(folder, name)))
    writeFileSync(file, readFileSync(file, 'utf8').replaceAll("'../../src/", "'../../../"));
