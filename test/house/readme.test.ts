/** What the README says is so. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { optionsTable } from '../../src/cli/options.js';
import type { Digest } from '../../src/reference/digest.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { TokenIssuer } from '../parts/token-issuer.js';

const root = join(import.meta.dirname, '..', '..');
const readme = await readFile(join(root, 'README.md'), 'utf8');

/** The fenced block of that language that holds `word`. */
function block(language: string, word: string): string {
  const blocks = readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'));
  const found = [...blocks].map(([, text = '']) => text).find((text) => text.includes(word));
  if (found === undefined) throw new Error(`no ${language} block with ${word}`);
  return found;
}

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
function adapted(example: string): string {
  return example
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

it('the options table is the schema (npm run docs)', () => {
  expect(/<!-- options -->\n([\s\S]*)\n<!-- \/options -->/.exec(readme)?.[1]).toBe(optionsTable());
});

it('its links lead somewhere', () => {
  const links = [...readme.matchAll(/\]\((?!https:)([^)#]+)\)/g)].map(([, path = '']) => path);
  expect(links.length).toBeGreaterThan(0);
  expect(links.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

it('its npm scripts exist', async () => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const guide = await readFile(join(root, 'CONTRIBUTING.md'), 'utf8');
  const named = [...`${readme}${guide}`.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name);
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

it('its metrics are at /metrics', async () => {
  const metrics = await (await fetch(`http://${server.admin}/metrics`)).text();
  // A histogram has lines only once there was something to measure.
  const eventual = ['rpc_server_call_duration_seconds', 'layercache_cache_operation_duration_seconds'];
  const named = [...readme.matchAll(/`(layercache_\w+|rpc_\w+_seconds)`/g)].map(([, name = '']) => name);
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !eventual.includes(name) && !metrics.includes(`# TYPE ${name} `))).toEqual(
    [],
  );
});

describe('its examples work', () => {
  it('grpcurl, by the equivalent buf curl', async () => {
    const buf = join(root, 'node_modules', '.bin', 'buf');
    // grpcurl cannot be had everywhere; what its lines ask of a server can.
    const stand = `
      set -e
      grpcurl() {
        [ "$1" = -plaintext ]; shift
        local data=''
        if [ "$1" = -d ]; then data=$2; shift 2; fi
        case "$2" in
          list) ${buf} curl --protocol grpc --http2-prior-knowledge "http://$1" --list-services ;;
          describe) ${buf} curl --protocol grpc --http2-prior-knowledge "http://$1" --list-methods ;;
          *) ${buf} curl --protocol grpc --http2-prior-knowledge -d "$data" "http://$1/$2" ;;
        esac
      }
    `;
    // How its JSON is spaced is at its own discretion.
    const said = (await run('bash', ['-c', stand + adapted(block('sh', 'grpcurl'))])).replaceAll(' ', '');
    expect(said).toContain('grpc.health.v1.Health');
    expect(said).toContain('layercache.v1.LayerCacheService/FindMissing');
    expect(said).toContain('"exists":true');
    expect(said).toContain('"length":"7"');
    expect(said).toContain('"contains":true');
  });

  it("TLS with a certificate of one's own, and tokens of the registry's bundle", async () => {
    const own = block('sh', 'openssl');
    const [, request = ''] = /^(openssl[\s\S]*?)\nnode /m.exec(own) ?? [];
    await run('bash', ['-c', `cd ${folder} && ${request} && cp tls.pem bundle.pem`]);
    const [, options = ''] = /--auth jwt([\s\S]*?)\ngrpcurl/.exec(block('sh', '--auth jwt')) ?? [];
    const withTls = await LayercacheProcess.start(
      [
        ...[
          `--storage=file://${tree.root}`,
          '--tls-cert',
          'tls.pem',
          '--tls-key',
          'tls.key',
          '--auth',
          'jwt',
        ],
        ...options.replaceAll('\\\n', ' ').trim().split(/\s+/),
      ],
      { cwd: folder },
    );
    const buf = join(root, 'node_modules', '.bin', 'buf');
    const address = withTls.listen.replace('127.0.0.1', 'localhost');
    const curl = ['curl', '--protocol', 'grpc', '--cacert', join(folder, 'tls.pem')];
    const services = await run(buf, [...curl, `https://${address}`, '--list-services']);
    expect(services).toContain('layercache.v1.LayerCacheService');
    const layer = JSON.stringify({ repository: 'demo/app', digest });
    const stat = [...curl, '-d', layer, `https://${address}/layercache.v1.LayerCacheService/Stat`];
    await expect(run(buf, stat)).rejects.toThrow('unauthenticated');
    const files = ['tls.pem', 'tls.key'].map((file) => readFile(join(folder, file)));
    const [cert, key] = (await Promise.all(files)) as [Buffer, Buffer];
    const tokens = new TokenIssuer({ cert, key, certFile: '', keyFile: '' });
    const access = [{ type: 'repository', name: 'demo/app', actions: ['pull'] }];
    const claims = { iss: 'auth.example', aud: 'registry.example' };
    const token = tokens.issue(access, claims);
    const said = await run(buf, [...stat, '-H', `authorization: Bearer ${token}`]);
    expect(said.replaceAll(' ', '')).toContain('"length":"7"');
    await withTls.stop();
  });

  it('TypeScript', async () => {
    const file = join(folder, 'example.ts');
    await writeFile(file, adapted(block('ts', 'LayerCacheServiceClient')));
    const said = await run(pinnedNode, [file]);
    expect(said).toContain('exists: true\n');
    expect(said).toContain('length: 7n\n');
    expect(said).toContain(`hash: ${digest.slice('sha256:'.length)}\n`);
  });

  it('TypeScript compiles as strictly as everything here', async () => {
    const example = block('ts', 'LayerCacheServiceClient').replaceAll(
      './gen/',
      `${join(root, 'src', 'gen')}/`,
    );
    await writeFile(join(folder, 'strict.mts'), example);
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
