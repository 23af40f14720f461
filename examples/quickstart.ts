/**
 * `npm run quickstart`: a small registry on disk, the real server before it,
 * and the calls a registry frontend makes, each checked. Exits non-zero when
 * any answer is wrong. `-- --keep` keeps the server up afterwards.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { LayerCacheClient, LayerCacheError, type Source } from 'layercache/client';
import { type Digest, digestOf } from '../dist/reference/digest.js';
import { blobPath } from '../dist/reference/layout.js';
import { parseRepositoryName, type RepositoryName } from '../dist/reference/repository-name.js';
import { type Blob, type Image, pushImage } from './registry-tree.ts';
import { type ServerProcess, startServer, stopServer } from './server-process.ts';

const repository = demoRepository();

interface Answer {
  /** What the call said, in a few words; compared with what it should say. */
  readonly text: string;
  readonly source?: Source;
}

class Table {
  wrong = 0;

  constructor() {
    this.#print('call', 'answer', 'source', 'time');
  }

  /** Makes a call and prints its answer. */
  async row(call: string, expected: Answer, ask: () => Promise<Answer>): Promise<void> {
    const began = performance.now();
    const answer = await ask().catch((error: unknown): Answer => {
      if (!(error instanceof LayerCacheError)) throw error;
      return { text: error.code };
    });
    const took = `${(performance.now() - began).toFixed(1)} ms`;
    this.#print(call, answer.text, sourceName(answer), took);
    if (answer.text === expected.text && sourceName(answer) === sourceName(expected)) return;
    this.wrong++;
    console.log(`  WRONG: should have been ${expected.text}, ${sourceName(expected)}`);
  }

  #print(call: string, answer: string, source: string, time: string): void {
    console.log(`${call.padEnd(44)}${answer.padEnd(30)}${source.padEnd(10)}${time.padStart(9)}`);
  }
}

function sourceName({ source }: Answer): string {
  return source ?? '–';
}

/** The service's calls, one method each, with answers in a few words. */
class Frontend {
  readonly #client: LayerCacheClient;

  constructor(address: string) {
    this.#client = new LayerCacheClient({ address });
  }

  async exists(digest: string): Promise<Answer> {
    const { exists, source } = await this.#client.exists(repository, digest);
    return { text: String(exists), source };
  }

  async stat(digest: string): Promise<Answer> {
    const { length, source } = await this.#client.stat(repository, digest);
    return { text: `${length} bytes`, source };
  }

  async findMissing(digests: readonly string[]): Promise<Answer> {
    const missing = await this.#client.findMissing(repository, digests);
    return { text: `${missing.length} of ${digests.length} missing` };
  }

  /** Fetches and says whether the bytes are those of `blob` in that range. */
  async fetch(digest: string, blob?: Blob, offset = 0, limit = 0): Promise<Answer> {
    const layer = await this.#client.fetch(repository, digest, { offset, limit });
    const hash = createHash('sha256');
    for await (const chunk of layer) hash.update(chunk);
    const wanted = blob?.bytes.subarray(offset, limit === 0 ? undefined : offset + limit) ?? Buffer.alloc(0);
    const agrees = hash.digest('hex') === createHash('sha256').update(wanted).digest('hex');
    return { text: `${layer.remaining} bytes, hash ${agrees ? 'agrees' : 'DIFFERS'}`, source: layer.source };
  }

  close(): void {
    this.#client.close();
  }
}

function demoRepository(): RepositoryName {
  const name = parseRepositoryName('demo/app');
  if (name === undefined) throw new Error('the example is wrong');
  return name;
}

async function tour(table: Table, ask: Frontend, image: Image, root: string): Promise<void> {
  const [base, app, conf] = image.layers;
  if (base === undefined || app === undefined || conf === undefined) throw new Error('the example is wrong');
  const unknown: Digest = digestOf('sha256', createHash('sha256').update('never pushed').digest('hex'));
  const everything = [...image.layers.map(({ digest }) => digest), image.config.digest, unknown];
  const cache = 'cache';
  const upstream = 'upstream';
  const size = base.bytes.length;
  const whole = `${size} bytes, hash agrees`;

  await table.row('Exists, nothing cached yet', { text: 'true', source: upstream }, () =>
    ask.exists(base.digest),
  );
  await table.row('Exists again', { text: 'true', source: cache }, () => ask.exists(base.digest));
  await table.row('FindMissing, an image and one digest more', { text: '1 of 5 missing' }, () =>
    ask.findMissing(everything),
  );
  await table.row('Stat', { text: `${size} bytes`, source: cache }, () => ask.stat(base.digest));
  await table.row('Fetch', { text: whole, source: cache }, () => ask.fetch(base.digest, base));
  await table.row(
    'Fetch, 1000 bytes from the middle',
    { text: '1000 bytes, hash agrees', source: cache },
    () => ask.fetch(base.digest, base, size >> 1, 1000),
  );
  await table.row('Exists, a digest nobody pushed', { text: 'false', source: upstream }, () =>
    ask.exists(unknown),
  );
  await table.row('Fetch, a digest nobody pushed', { text: 'NOT_FOUND' }, () => ask.fetch(unknown));
  await table.row('Fetch, what is no digest', { text: 'INVALID_ARGUMENT' }, () => ask.fetch('sha256:42'));
  await rm(join(root, blobPath(app.digest)));
  await table.row('Fetch, deleted behind the warm cache', { text: 'NOT_FOUND' }, () => ask.fetch(app.digest));
  await table.row('Exists of it after that', { text: 'false', source: upstream }, () =>
    ask.exists(app.digest),
  );
}

/** The counters of our own at `/metrics`, by name and labels. */
async function counters(server: ServerProcess): Promise<Map<string, number>> {
  const response = await fetch(`http://${server.admin}/metrics`, { signal: AbortSignal.timeout(5000) });
  const lines = (await response.text()).matchAll(/^(layercache_\w+_total(?:\{[^}]*\})?) (\S+)/gm);
  return new Map([...lines].map(([, name = '', value]) => [name, Number(value)]));
}

function whatNext(server: ServerProcess, image: Image): string {
  const layer = `{"repository":"${repository}","digest":"${image.layers[0]?.digest}"}`;
  const call = `grpcurl -plaintext`;
  const service = 'layercache.v1.LayerCacheService';
  return [
    `  ${call} ${server.listen} describe ${service}`,
    `  ${call} -d '${layer}' ${server.listen} ${service}/Exists`,
    `  ${call} -d '${layer}' ${server.listen} ${service}/Stat`,
    `  curl http://${server.admin}/metrics`,
    `  curl http://${server.admin}/readyz`,
  ].join('\n');
}

const { keep } = parseArgs({ options: { keep: { type: 'boolean', default: false } } }).values;
const root = await mkdtemp(join(tmpdir(), 'layercache-quickstart-'));
// Ctrl-C reaches the server too, as one of the terminal's group; what is left is tidying up.
process.on('SIGINT', () => {});
try {
  const image = await pushImage(root, repository);
  const server = await startServer(pathToFileURL(root).href);
  console.log(`A registry of one image in ${root}, served at ${server.listen} with the cache in memory.\n`);

  const before = await counters(server);
  const table = new Table();
  const frontend = new Frontend(server.listen);
  await tour(table, frontend, image, root);
  frontend.close();

  console.log('\nWhat moved at /metrics:');
  const moved = [...(await counters(server))].filter(([name, value]) => value !== (before.get(name) ?? 0));
  for (const [name, value] of moved) console.log(`  ${name} ${value}`);
  if (moved.length === 0) table.wrong++;

  if (keep) {
    console.log(`\nThe server stays up until Ctrl-C. Try\n\n${whatNext(server, image)}\n`);
    await once(server.process, 'exit');
  } else {
    console.log(
      '\nTo try it by hand, `npm run quickstart -- --keep` keeps the server up. Then, with its ports:\n',
    );
    console.log(whatNext(server, image));
    if ((await stopServer(server)) !== 0) table.wrong++;
  }
  console.log(table.wrong === 0 ? '\nEvery answer was right.' : `\n${table.wrong} wrong.`);
  process.exitCode = table.wrong === 0 ? 0 : 1;
} finally {
  await rm(root, { recursive: true, force: true });
}
