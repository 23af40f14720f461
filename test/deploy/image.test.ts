/** The Dockerfile's build, without Docker: its commands, on what it copies, with the packages that are installed. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { root } from '../parts/docs-pages.js';
import { run } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';

it('builds from what it copies, and the result starts', { timeout: 120_000 }, async () => {
  const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8');
  const [, build = ''] = dockerfile.split(/^FROM /m);
  const app = await mkdtemp(join(tmpdir(), 'layercache-image-'));
  onTestFinished(() => rm(app, { recursive: true, force: true }));
  for (const [, words = ''] of build.matchAll(/^COPY (.+)$/gm)) {
    const paths = words.split(' ');
    const target = paths.pop() ?? '';
    for (const path of paths) {
      const place =
        target === './' || target.endsWith('/')
          ? join(app, target, path.split('/').at(-1) ?? '')
          : join(app, target);
      // .dockerignore keeps what was generated here outside.
      await cp(join(root, path), place, {
        recursive: true,
        filter: (source) => !source.startsWith(join(root, 'src/gen')),
      });
    }
  }
  // What `npm ci` installs from the same lock.
  await symlink(join(root, 'node_modules'), join(app, 'node_modules'));
  const commands = Array.from(build.matchAll(/^RUN (.+)$/gm), ([, command = '']) => command);
  expect(commands).toEqual(['npm ci', 'npm run build']);
  const env = { ...process.env, PATH: `${dirname(pinnedNode)}:${process.env['PATH']}` };
  await promisify(execFile)('npm', ['run', 'build'], { cwd: app, env });

  await cp(join(root, 'bin'), join(app, 'bin'), { recursive: true });
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const built = await run(['--version'], { bin: join(app, 'bin', 'layercache.cjs') });
  expect(built).toMatchObject({ code: 0, stdout: `${version}\n` });
});
