/**
 * The Dockerfile, as far as it can be held true without Docker: what it copies
 * exists and is let in, what it runs is there, and who runs it is nobody.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { options } from '../../src/cli/option-schema.js';
import { environmentName, optionNames } from '../../src/cli/options.js';
import { run } from '../parts/layercache-process.js';

const root = join(import.meta.dirname, '..', '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const manifest = JSON.parse(read('package.json'));

/** Instructions with continued lines joined, comments left out. */
const instructions = read('Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => ({ word: line.split(' ', 1)[0] ?? '', rest: line.slice(line.indexOf(' ') + 1) }));

const argumentsOf = (word: string) =>
  instructions.filter((instruction) => instruction.word === word).map(({ rest }) => rest);

/** Where the last stage, the image itself, begins. */
const image = instructions.slice(instructions.findLastIndex(({ word }) => word === 'FROM'));
const inImage = (word: string) => image.filter((line) => line.word === word).map(({ rest }) => rest);

/** What is copied from the build context. */
const copied = argumentsOf('COPY')
  .filter((rest) => !rest.startsWith('--from='))
  .flatMap((rest) => rest.split(' ').slice(0, -1));

describe('the Dockerfile', () => {
  it('copies only what exists and what .dockerignore lets in', () => {
    const letIn = read('.dockerignore').matchAll(/^!(.+)$/gm);
    expect(copied.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    expect([...new Set(copied)].sort()).toEqual([...letIn].map(([, path]) => path).sort());
  });

  it('copies what the build reads', () => {
    for (const file of [
      'src',
      'proto',
      'buf.yaml',
      'buf.gen.yaml',
      'rolldown.config.ts',
      'tsconfig.json',
      'tsconfig.build.json',
    ])
      expect(copied).toContain(file);
  });

  it('runs scripts that exist', () => {
    const scripts = argumentsOf('RUN').flatMap((rest) => /^npm run (\S+)$/.exec(rest)?.[1] ?? []);
    expect(scripts).toEqual(['build']);
    for (const script of scripts) expect(manifest.scripts).toHaveProperty(script);
  });

  it('stands on the Node that is developed on, in every stage', () => {
    const [major] = manifest.devDependencies.node.split('.');
    expect(argumentsOf('FROM').map((rest) => rest.split(' ')[0])).toEqual(
      Array(3).fill(`node:${major}-slim`),
    );
  });

  it('holds no development dependencies', () => {
    expect(argumentsOf('RUN')).toContain('npm ci --omit=dev');
    expect(inImage('RUN')).toEqual([]);
    expect(inImage('COPY')).toContain('--from=dependencies /app/node_modules node_modules');
  });

  it('holds everything that the package says it ships', () => {
    const present = inImage('COPY').map((rest) => rest.replace(/^--from=\S+ /, ''));
    const names = present
      .flatMap((rest) => rest.split(' ').slice(0, -1))
      .map((path) => path.replace('/app/', ''));
    expect(names).toEqual(expect.arrayContaining(manifest.files));
  });

  it('does not run as root', () => expect(inImage('USER')).toEqual(['node']));

  it('listens on all interfaces, by options that exist', () => {
    const variables = [...(inImage('ENV')[0] ?? '').matchAll(/(LAYERCACHE_\w+)=(\S+)/g)];
    const byName = Object.fromEntries(variables.map(([, name, value]) => [name, value]));
    const port = (name: 'listen' | 'admin') => options[name].default.split(':')[1];
    expect(byName).toEqual({
      LAYERCACHE_LISTEN: `0.0.0.0:${port('listen')}`,
      LAYERCACHE_ADMIN: `0.0.0.0:${port('admin')}`,
    });
    expect(optionNames.map(environmentName)).toEqual(expect.arrayContaining(Object.keys(byName)));
    expect(inImage('EXPOSE')).toEqual([`${port('listen')} ${port('admin')}`]);
  });

  it('is asked for its health, and starts, by commands that work', async () => {
    const entry = ['node', 'bin/layercache.cjs'];
    expect(JSON.parse(inImage('ENTRYPOINT')[0] ?? '')).toEqual(entry);
    const check = /CMD (.+)$/.exec(inImage('HEALTHCHECK')[0] ?? '')?.[1];
    expect(JSON.parse(check ?? '')).toEqual([...entry, 'health']);
    // Nobody listens there: it says so, which a broken command would not.
    const { code, stderr } = await run(['health', '--admin=127.0.0.1:1'], { cwd: root });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^no answer from /) });
  });
});
