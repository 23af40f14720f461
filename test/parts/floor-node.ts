/**
 * The oldest Node that the server supports, installed beside the tests on
 * their first run. A package of its own: both versions' packages bring a
 * program called `node`, and only one may win in node_modules/.bin.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(import.meta.dirname, 'floor-node');

/** Path of the program. */
export const floorNode = join(folder, 'node_modules', 'node', 'bin', 'node');

export default function installFloorNode(): void {
  if (existsSync(floorNode)) return;
  console.error('installing the oldest supported Node for the tests …');
  execFileSync('npm', ['ci', '--silent'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 300_000,
  });
}
