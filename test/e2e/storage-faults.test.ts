/**
 * Every way in which a storage fails, against the real server: the right status, nothing
 * evicted that storage did not deny, no descriptor left, and all is well when it is back.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFile,
  chmod,
  cp,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FetchResponse, Source } from '../../src/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { HealthClient } from '../grpc/health-client.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess, type RunOptions } from '../parts/layercache-process.js';
import { openDescriptors } from '../parts/open-descriptors.js';
import { parsePrometheus } from '../parts/prometheus-families.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { withoutPrivilege } from '../parts/without-privilege.js';

const repository = repositoryNamed('library/app');
const unavailable = { code: status.UNAVAILABLE };
const dataLoss = { code: status.DATA_LOSS };
const now = { seconds: 0n, nanos: 0 };
const megabyte = 1 << 20;

let tree: TemporaryTree;
let server: LayercacheProcess;
let client: LayerClient;

const fileOf = (digest: Digest) => join(tree.root, blobPath(digest));

async function start(storage: string, options: RunOptions = {}): Promise<void> {
  const args = [`--storage=${storage}`, '--storage-timeout=500ms', '--revalidate-after=0'];
  server = await LayercacheProcess.start(args, options);
  await server.readyz(200);
  client = new LayerClient(server.listen);
}

async function stop(): Promise<void> {
  client?.close();
  await server?.stop();
  await tree?.delete();
}

/** Puts a layer there and has it cached. */
async function warm(bytes: Uint8Array = randomBytes(50_000)): Promise<Digest> {
  const digest = await pushLayer(tree, repository, bytes);
  await client.stat(repository, digest);
  expect((await client.stat(repository, digest)).source).toBe(Source.SOURCE_CACHE);
  return digest;
}

const fetched = (digest: Digest, from = repository) => bytesOf(client.fetch(from, digest));

/** Nobody who asked has left anything open. */
async function expectNothingOpen(): Promise<void> {
  await expect.poll(() => openDescriptors(tree.root, server.pid), { timeout: 5000 }).toEqual([]);
}

/** Does the work while a Fetch of the layer stands in its midst; then reads on. */
async function inMidFetch(digest: Digest, work: () => Promise<unknown>): Promise<{ received: number }> {
  const stream = client.fetch(repository, digest, { chunkSize: 65_536 });
  const parts = stream[Symbol.asyncIterator]() as AsyncIterator<FetchResponse>;
  let received = 0;
  for (let count = 0; count < 3; count += 1) received += lengthOf(await parts.next());
  await work();
  for (let part = await parts.next(); part.done !== true; part = await parts.next())
    received += lengthOf(part);
  return { received };
}

function lengthOf({ value }: IteratorResult<FetchResponse>): number {
  return value?.part?.$case === 'chunk' ? value.part.value.length : 0;
}

describe('on the machine’s own file system', () => {
  // More than all that a server, a client and their sockets hold between them.
  const longLength = 32 * megabyte;
  const warmLong = () => warm(randomBytes(longLength));

  beforeAll(async () => {
    tree = await TemporaryTree.create();
    await start(`file://${tree.root}`, { node: await withoutPrivilege(tree.outside) });
  });
  afterEach(expectNothingOpen);
  afterAll(stop);

  it('rule 6: a blob cut in mid-stream is DATA_LOSS', async () => {
    const digest = await warmLong();
    await expect(inMidFetch(digest, () => truncate(fileOf(digest), megabyte))).rejects.toMatchObject(
      dataLoss,
    );
    await rm(fileOf(digest));
  });

  it('rule 6: a blob that grows in mid-stream is never delivered whole unless it hashes right', async () => {
    const digest = await warmLong();
    const grow = () => appendFile(fileOf(digest), 'more');
    // What was promised hashes right, whatever follows it in the file.
    expect(await inMidFetch(digest, grow)).toEqual({ received: longLength });
    // The longer blob does not, and is known by now.
    await expect(fetched(digest)).rejects.toMatchObject(dataLoss);
    await expect(client.stat(repository, digest)).rejects.toMatchObject(dataLoss);
    await rm(fileOf(digest));
  });

  it('rule 6: a blob replaced in mid-stream is read to the end of the one that was opened', async () => {
    const digest = await warmLong();
    const replace = () => tree.put(blobPath(digest), Buffer.from('something else'));
    expect(await inMidFetch(digest, replace)).toEqual({ received: longLength });
    await expect(fetched(digest)).rejects.toMatchObject(dataLoss);
    await rm(fileOf(digest));
  });

  it('a directory replaced by a symlink that leads out is UNAVAILABLE, warm or cold, and evicts nothing', async () => {
    const digest = await warm();
    const folder = dirname(fileOf(digest));
    const outside = join(tree.outside, 'elsewhere');
    await cp(folder, outside, { recursive: true });
    await rename(folder, `${folder}-away`);
    await symlink(outside, folder);
    await expect(fetched(digest)).rejects.toMatchObject(unavailable);
    await expect(client.stat(repository, digest, now)).rejects.toMatchObject(unavailable);
    expect(await client.contains(repository, digest)).toBe(true);
    await rm(folder);
    await rename(`${folder}-away`, folder);
    expect((await fetched(digest)).bytes).toHaveLength(50_000);
  });

  it('a directory replaced by a symlink inside the root is followed', async () => {
    const digest = await warm();
    const folder = dirname(fileOf(digest));
    await rename(folder, `${folder}-moved`);
    await symlink(`${folder}-moved`, folder);
    expect((await fetched(digest)).bytes).toHaveLength(50_000);
    expect((await client.stat(repository, digest, now)).length).toBe(50_000n);
  });

  it('permission denied is UNAVAILABLE, never absence', async () => {
    const digest = await warm();
    await chmod(fileOf(digest), 0o000);
    await expect(fetched(digest)).rejects.toMatchObject(unavailable);
    expect(await client.contains(repository, digest)).toBe(true);
    const folder = dirname(fileOf(digest));
    await chmod(folder, 0o000);
    await expect(fetched(digest)).rejects.toMatchObject(unavailable);
    await expect(client.exists(repository, digest, now)).rejects.toMatchObject(unavailable);
    await expect(client.findMissing(repository, [digest], now)).rejects.toMatchObject(unavailable);
    await expect(client.add(repository, digest)).rejects.toMatchObject(unavailable);
    await chmod(folder, 0o755);
    await chmod(fileOf(digest), 0o644);
    expect((await fetched(digest)).bytes).toHaveLength(50_000);
  });

  it('no file descriptor left is UNAVAILABLE; with one again all works', async () => {
    const digest = await warm();
    const limits = await readFile(`/proc/${server.pid}/limits`, 'utf8');
    const [, soft, hard] = /Max open files\s+(\d+)\s+(\d+)/.exec(limits) ?? [];
    const setLimit = (most: number | string) =>
      execFileSync('prlimit', [`--pid=${server.pid}`, `--nofile=${most}:${hard}`]);
    // The first three are always taken, so no new one can be had.
    setLimit(3);
    await expect(fetched(digest)).rejects.toMatchObject(unavailable);
    await expect(client.exists(repository, digest, now)).rejects.toMatchObject(unavailable);
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
    setLimit(soft ?? '');
    expect((await fetched(digest)).bytes).toHaveLength(50_000);
    expect((await client.exists(repository, digest, now)).exists).toBe(true);
  });

  it('a FIFO, which would hang its reader, and a directory are no blob: absence', async () => {
    const digest = await warm();
    await rm(fileOf(digest));
    execFileSync('mkfifo', [fileOf(digest)]);
    await expect(fetched(digest)).rejects.toMatchObject({ code: status.NOT_FOUND });
    await rm(fileOf(digest));
    await mkdir(fileOf(digest));
    expect((await client.exists(repository, digest, now)).exists).toBe(false);
  });
});

describe('with a repository on another volume', () => {
  const other = repositoryNamed('team/other');
  const bytes = randomBytes(10_000);
  let digest: Digest;
  let volume: string;

  beforeAll(async () => {
    tree = await TemporaryTree.create();
    digest = await pushLayer(tree, other, bytes);
    volume = join(tree.outside, 'volume2');
    await mkdir(volume);
    const home = join(tree.root, 'docker/registry/v2/repositories/team/other');
    await cp(home, join(volume, 'other'), { recursive: true });
    await rm(home, { recursive: true });
    await symlink(join(volume, 'other'), home);
  });
  afterEach(async () => {
    client.close();
    await server.stop();
  });
  afterAll(() => tree.delete());

  it('also= serves it', async () => {
    await start(`file://${tree.root}?also=${volume}`);
    expect((await fetched(digest, other)).bytes.equals(bytes)).toBe(true);
    expect((await client.exists(other, digest, now)).exists).toBe(true);
    await expectNothingOpen();
  });

  it('without also= it is UNAVAILABLE, and the log line names the option', async () => {
    await start(`file://${tree.root}`);
    const failure = await client.exists(other, digest).catch((error) => error);
    expect(failure).toMatchObject(unavailable);
    expect(failure.message).not.toContain(volume);
    const line = await server.logged((line) => line['err'] !== undefined);
    expect(JSON.stringify(line)).toContain('also=');
  });

  it('rule 11: the volume unmounted is UNAVAILABLE, evicts nothing, and passes', async () => {
    await start(`file://${tree.root}?also=${volume}`);
    await client.exists(other, digest);
    await rename(volume, `${volume}-away`);
    await mkdir(volume);
    await expect(client.exists(other, digest, now)).rejects.toMatchObject(unavailable);
    expect(await client.contains(other, digest)).toBe(true);
    await rm(volume, { recursive: true });
    await rename(`${volume}-away`, volume);
    expect((await client.exists(other, digest, now)).exists).toBe(true);
  });
});

describe('on a file system with injected faults', () => {
  let faultFile: string;
  let writes = 0;

  interface Fault {
    readonly calls?: readonly string[];
    readonly path?: string;
    readonly code?: string;
    readonly hang?: string;
    readonly remove?: string;
  }

  async function strike(fault: Fault): Promise<void> {
    writes += 1;
    const beside = `${faultFile}-${writes}`;
    await writeFile(beside, JSON.stringify(fault));
    await rename(beside, faultFile);
  }
  const heal = () => rm(faultFile, { force: true });

  beforeAll(async () => {
    tree = await TemporaryTree.create();
    faultFile = join(tree.outside, 'fault');
    const query = new URLSearchParams({ root: tree.root, timeout: '500', fault: faultFile });
    const driver = join(import.meta.dirname, '../parts/faulty-file-driver.mjs');
    await start(`module:${driver}?${query}`);
  });
  afterEach(async () => {
    await heal();
    await expectNothingOpen();
  });
  afterAll(stop);

  it.each(['EIO', 'EMFILE', 'ENFILE', 'EACCES', 'ESTALE', 'ETIMEDOUT', 'ELOOP', 'ENOMEM'])(
    '%s, whichever call meets it, is UNAVAILABLE, evicts nothing, and passes',
    async (code) => {
      const bytes = randomBytes(10_000);
      const digest = await warm(bytes);
      const absent = `sha256:${randomBytes(32).toString('hex')}`;
      for (const call of ['open', 'openDirectory', 'fstat', 'stat', 'read']) {
        await strike({ calls: [call], code });
        // Only what is not found at once has the root looked at.
        if (call === 'openDirectory') {
          await expect(client.exists(repository, absent)).rejects.toMatchObject(unavailable);
          continue;
        }
        if (call !== 'stat') await expect(fetched(digest)).rejects.toMatchObject(unavailable);
        await expect(client.exists(repository, digest, now)).rejects.toMatchObject(unavailable);
        expect(await client.exists(repository, digest)).toEqual({
          exists: true,
          source: Source.SOURCE_CACHE,
        });
        expect((await client.stat(repository, digest)).length).toBe(10_000n);
      }
      await heal();
      expect((await fetched(digest)).bytes.equals(bytes)).toBe(true);
      expect((await client.exists(repository, digest, now)).exists).toBe(true);
      expect((await client.exists(repository, absent)).exists).toBe(false);
    },
  );

  it('rule 6: EIO in mid-stream is UNAVAILABLE, and the client resumes at its offset', async () => {
    const bytes = randomBytes(16 * megabyte);
    const digest = await warm(bytes);
    const failure = await inMidFetch(digest, () =>
      strike({ calls: ['read'], path: '/data', code: 'EIO' }),
    ).then(
      () => undefined,
      (error) => error,
    );
    expect(failure).toMatchObject(unavailable);
    await heal();
    const rest = await bytesOf(client.fetch(repository, digest, { offset: 1_000_000n }));
    expect(rest.bytes.equals(bytes.subarray(1_000_000))).toBe(true);
  });

  it('rule 6: a blob deleted between the look and the open is NOT_FOUND, not an empty layer', async () => {
    const digest = await pushLayer(tree, repository, randomBytes(10_000));
    await strike({ calls: ['open'], path: '/data', remove: fileOf(digest) });
    await expect(fetched(digest)).rejects.toMatchObject({ code: status.NOT_FOUND });
    expect(await client.contains(repository, digest)).toBe(false);
  });

  it('a read that hangs is UNAVAILABLE in its time; other layers are served meanwhile', async () => {
    const [hanging, other] = [await warm(), await warm()];
    const fifo = await newFifo();
    await strike({ calls: ['read'], path: blobPath(hanging), hang: fifo });
    const failing = expect(fetched(hanging)).rejects.toMatchObject(unavailable);
    expect((await fetched(other)).bytes).toHaveLength(50_000);
    await failing;
    await heal();
    await release(fifo);
    expect((await fetched(hanging)).bytes).toHaveLength(50_000);
  });

  it('rule 16: with every thread hung, cached answers, health and metrics work; with storage back all works', async () => {
    const digest = await warm();
    const cold = await Promise.all(
      Array.from({ length: 30 }, () => pushLayer(tree, repository, randomBytes(100))),
    );
    const fifo = await newFifo();
    await strike({ hang: fifo });
    const asked = cold.map((each) =>
      expect(client.exists(repository, each)).rejects.toMatchObject(unavailable),
    );
    await expect.poll(() => hungThreads(server.pid)).toBe(12);
    await Promise.all(asked);
    expect(await hungThreads(server.pid)).toBe(12);

    // No hope, so no wait: the error comes without the storage being asked.
    await expect(client.exists(repository, cold[0] ?? digest)).rejects.toMatchObject(unavailable);
    await expect(fetched(digest)).rejects.toMatchObject(unavailable);
    expect(await hungThreads(server.pid)).toBe(12);
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
    expect((await client.stat(repository, digest)).source).toBe(Source.SOURCE_CACHE);
    expect(await client.contains(repository, digest)).toBe(true);
    const health = new HealthClient(server.listen);
    expect(await health.check('')).toBe('SERVING');
    health.close();
    expect(await server.readyz(200)).toMatchObject({ status: 'degraded' });
    const metrics = parsePrometheus(await (await fetch(`http://${server.admin}/metrics`)).text());
    expect(metrics.get('layercache_storage_up')?.samples[0]?.value).toBe(0);

    await heal();
    await release(fifo);
    // The threads are free a moment before the server knows.
    await expect.poll(() => client.exists(repository, digest, now).catch(() => undefined)).toBeDefined();
    expect((await fetched(digest)).bytes).toHaveLength(50_000);
    for (const each of cold) expect((await client.exists(repository, each)).exists).toBe(true);
    expect(await server.readyz(200)).toMatchObject({ status: 'ready' });
  });

  async function newFifo(): Promise<string> {
    writes += 1;
    const fifo = join(tree.outside, `fifo-${writes}`);
    execFileSync('mkfifo', [fifo]);
    return fifo;
  }

  /** Ends every open that hangs in it. */
  async function release(fifo: string): Promise<void> {
    const writer = await open(fifo, 'w');
    await expect.poll(() => hungThreads(server.pid)).toBe(0);
    await writer.close();
  }
});

/** How many threads of the process wait for the other side of a FIFO. */
async function hungThreads(pid: number): Promise<number> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const waits = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/wchan`, 'utf8').catch(() => '')),
  );
  return waits.filter((wait) => wait === 'wait_for_partner').length;
}
