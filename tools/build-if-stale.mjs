// Builds unless dist/ is younger than everything it is made from, so that
// `npm start` and `npm run quickstart` work on a fresh clone and start at once
// on a built one.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const sources = [
  'src',
  'proto',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'tsconfig.cjs.json',
  'tsconfig.testing.json',
  'test/contract',
  'buf.gen.yaml',
  'rolldown.config.ts',
];

// The last thing that a build writes, whether or not it changed.
const product = join(root, 'dist', 'layercache.js');
const built = existsSync(product) ? statSync(product).mtimeMs : 0;

function isNewer(path) {
  const stat = statSync(path);
  // Generated code is made by the build itself; a directory's time tells of files removed.
  if (path === join(root, 'src', 'gen')) return !stat.isDirectory();
  if (stat.mtimeMs > built && path !== join(root, 'src')) return true;
  return stat.isDirectory() && readdirSync(path).some((name) => isNewer(join(path, name)));
}

if (built === 0 || sources.some((source) => isNewer(join(root, source)))) {
  console.error('building …');
  // npm's own chatter goes to stderr: stdout is the server's.
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: ['ignore', 2, 2] });
}
