/** Programs in Go, built from Debian's packages alone: no module, no network. */
import { execFile } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

/** Builds the package in that folder and resolves with the program's path; the caller removes its folder. */
export async function buildGoProgram(source: string): Promise<{ program: string; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'layercache-go-'));
  const program = join(folder, basename(source));
  const env = { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '' };
  await promisify(execFile)('go', ['build', '-o', program, '.'], { cwd: source, env, timeout: 240_000 });
  return { program, folder };
}
