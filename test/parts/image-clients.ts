/**
 * The programs that pull images, each with an empty place of its own for each
 * pull: skopeo into a folder, buildah and podman unpacked into a store of the
 * `vfs` driver, which needs neither overlay nor user namespaces when root runs it.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DockerRegistry } from './docker-registry.js';

const run = promisify(execFile);
const timeout = 60_000;

export const imageClients = ['skopeo', 'buildah', 'podman'] as const;
export type ImageClient = (typeof imageClients)[number];

/** Pushes an image with a layer for each of these; gives the manifest's digest and the layers'. */
export async function pushTars(registry: DockerRegistry, repository: string, contents: readonly Buffer[]) {
  const layers = await Promise.all(contents.map(tarOf));
  const diffIds = layers.map((bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`);
  return await registry.pushImage(repository, layers, diffIds);
}

/**
 * Pulls the image `host:port/repository`; gives the contents of its layers, as
 * many as `pushTars` was given. Rejects with what the program said when it failed.
 */
export async function pullImage(client: ImageClient, image: string): Promise<Buffer[]> {
  const folder = await mkdtemp(join(tmpdir(), 'layercache-pulled-'));
  try {
    const policy = join(folder, 'policy.json');
    await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
    const options = { timeout, env: { PATH: process.env['PATH'], HOME: folder, TMPDIR: folder } };
    const from = `docker://${image}:latest`;
    if (client === 'skopeo') {
      const to = join(folder, 'image');
      const how = ['copy', '--retry-times=0', '--src-tls-verify=false'];
      await run('skopeo', ['--policy', policy, ...how, from, `dir:${to}`], options);
      return await unpacked(to);
    }
    const store = join(folder, 'store');
    const place = ['--storage-driver=vfs', `--root=${store}`, `--runroot=${join(folder, 'run')}`];
    // podman would keep a file of its own elsewhere.
    if (client === 'podman') place.push(`--tmpdir=${join(folder, 'tmp')}`, '--events-backend=none');
    const how = ['pull', '--quiet', '--tls-verify=false', `--signature-policy=${policy}`];
    await run(client, [...place, ...how, from], options);
    return await topOf(join(store, 'vfs', 'dir'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A layer with one file, whose name no other layer has. */
async function tarOf(content: Buffer, index: number): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'layercache-layer-'));
  try {
    await writeFile(join(folder, `layer-${index}`), content);
    const options = { encoding: 'buffer', maxBuffer: 1 << 30 } as const;
    return (await run('tar', ['-c', '-C', folder, `layer-${index}`], options)).stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What skopeo's folder holds, whose manifest names the layers in their order. */
async function unpacked(folder: string): Promise<Buffer[]> {
  const { layers } = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as {
    layers: { digest: string }[];
  };
  const to = join(folder, 'unpacked');
  await mkdir(to);
  for (const { digest } of layers) await run('tar', ['-x', '-C', to, '-f', join(folder, digest.slice(7))]);
  return await filesOf(to);
}

/** The topmost layer of a vfs store, which holds the files of all below it. */
async function topOf(folder: string): Promise<Buffer[]> {
  const layers = await Promise.all((await readdir(folder)).map((name) => filesOf(join(folder, name))));
  return layers.reduce((top, files) => (files.length > top.length ? files : top), []);
}

async function filesOf(folder: string): Promise<Buffer[]> {
  const names = (await readdir(folder)).filter((name) => name.startsWith('layer-')).sort();
  return await Promise.all(names.map((name) => readFile(join(folder, name))));
}
