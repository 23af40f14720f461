/** The README's example in TypeScript works. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { block, readPage, root } from '../parts/docs-pages.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const readme = await readPage('README.md');
const example = block(readme, 'ts', 'LayerCacheServiceClient');

let folder: string;
let tree: TemporaryTree;
let server: LayercacheProcess;
let digest: Digest;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-readme-'));
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`]);
});
afterAll(async () => {
  await server.stop();
  await tree.delete();
  await rm(folder, { recursive: true, force: true });
});

/** The example as a reader would adapt it: to this server and to a layer that is there. */
function adapted(text: string): string {
  return text
    .replaceAll('127.0.0.1:50051', server.listen)
    .replaceAll('sha256:<64 hex digits>', digest)
    .replaceAll('./gen/', `${pathToFileURL(join(root, 'dist', 'gen')).href}/`)
    .replaceAll("'@grpc/grpc-js'", `'${import.meta.resolve('@grpc/grpc-js')}'`);
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`exit code ${child.exitCode}: ${said}`);
  return said;
}

describe('its example in TypeScript', () => {
  it('works', async () => {
    const file = join(folder, 'example.ts');
    await writeFile(file, adapted(example));
    const said = await run(pinnedNode, [file]);
    expect(said).toContain('exists: true\n');
    expect(said).toContain('length: 7n\n');
    expect(said).toContain(`hash: ${digest.slice('sha256:'.length)}\n`);
  });

  it('compiles as strictly as everything here', async () => {
    const strict = example.replaceAll('./gen/', `${join(root, 'src', 'gen')}/`);
    await writeFile(join(folder, 'strict.mts'), strict);
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: join(root, 'tsconfig.json'),
        compilerOptions: {
          rootDir: '/',
          typeRoots: [join(root, 'node_modules', '@types')],
          paths: { '@grpc/grpc-js': [join(root, 'node_modules/@grpc/grpc-js/build/src/index.d.ts')] },
        },
        include: ['strict.mts'],
      }),
    );
    const compiler = join(root, 'node_modules', '.bin', 'tsc');
    const { stdout, status } = spawnSync(compiler, ['-p', folder], { encoding: 'utf8' });
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
  });
});
