/**
 * Debian's `docker-registry` on a free port of the loopback, over a filesystem
 * tree or an S3 bucket and, where one is given, a Redis as its blob-descriptor cache. Whoever
 * starts one stops it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface DockerRegistryOptions {
  /** Its storage: a directory, or what its `s3` driver is told. */
  readonly root: string | Readonly<Record<string, unknown>>;
  /** Port of the Redis that it keeps its blob descriptors in; in its own memory unless given. */
  readonly redisPort?: number;
  /** Told of every event, as its `notifications:` has it. */
  readonly notifications?: { readonly url: string; readonly token?: string };
  /** Admits only who bears a token of this issuer, for this service, signed by who leads to these roots. */
  readonly tokens?: { readonly issuer: string; readonly service: string; readonly rootCertBundle: string };
}

const startTimeoutMs = 15_000;

export class DockerRegistry {
  #url = '';
  readonly #directory: string;
  readonly #config: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #log = '';

  private constructor(directory: string, config: string, child: ChildProcess) {
    this.#directory = directory;
    this.#config = config;
    this.#child = child;
    this.#exited = once(child, 'exit');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
    process.on('exit', () => child.kill('SIGKILL'));
  }

  /** Resolves when it answers. */
  static async start({
    root,
    redisPort,
    tokens,
    notifications,
  }: DockerRegistryOptions): Promise<DockerRegistry> {
    const directory = await mkdtemp(join(tmpdir(), 'layercache-registry-'));
    const config = join(directory, 'config.json');
    // YAML takes JSON.
    await writeFile(
      config,
      JSON.stringify({
        version: 0.1,
        log: { level: 'info', formatter: 'json' },
        storage: {
          ...(typeof root === 'string' ? { filesystem: { rootdirectory: root } } : { s3: root }),
          delete: { enabled: true },
          cache: { blobdescriptor: redisPort === undefined ? 'inmemory' : 'redis' },
          // What it stores in S3 it would have its clients fetch there.
          redirect: { disable: true },
        },
        ...(redisPort !== undefined && { redis: { addr: `127.0.0.1:${redisPort}` } }),
        ...(notifications && {
          notifications: {
            endpoints: [
              {
                name: 'layercache',
                url: notifications.url,
                headers:
                  notifications.token === undefined
                    ? {}
                    : { Authorization: [`Bearer ${notifications.token}`] },
                timeout: '2s',
                threshold: 5,
                backoff: '200ms',
              },
            ],
          },
        }),
        ...(tokens && {
          auth: {
            token: {
              realm: 'http://127.0.0.1/token',
              issuer: tokens.issuer,
              service: tokens.service,
              rootcertbundle: tokens.rootCertBundle,
            },
          },
        }),
        http: { addr: '127.0.0.1:0' },
      }),
    );
    return DockerRegistry.#serve(directory, config);
  }

  /** Starts it with a configuration as a deployment has it, YAML. Resolves when it answers. */
  static async configured(text: string): Promise<DockerRegistry> {
    const directory = await mkdtemp(join(tmpdir(), 'layercache-registry-'));
    const config = join(directory, 'config.yaml');
    await writeFile(config, text);
    return DockerRegistry.#serve(directory, config);
  }

  static async #serve(directory: string, config: string): Promise<DockerRegistry> {
    const { AWS_CA_BUNDLE: _, ...env } = process.env; // With it, the S3 driver of this version panics.
    const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'], env });
    const registry = new DockerRegistry(directory, config, child);
    await registry.#listens();
    return registry;
  }

  /** Where it answers. */
  get url(): string {
    return this.#url;
  }

  /** Errors that it has logged. */
  get errors(): readonly string[] {
    return this.#log.split('\n').filter((line) => line.includes('"level":"error"'));
  }

  /** Pushes a layer as a client does, under the digest of that algorithm, which it gives. */
  async push(
    repository: string,
    bytes: Uint8Array,
    algorithm: 'sha256' | 'sha512' = 'sha256',
  ): Promise<string> {
    const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
    const begun = await this.#request('POST', `/v2/${repository}/blobs/uploads/`, 202);
    const location = new URL(begun.headers.get('location') ?? '', this.#url);
    location.searchParams.set('digest', digest);
    await this.#request('PUT', location.pathname + location.search, 201, bytes);
    return digest;
  }

  /** The layer's bytes as the registry gives them. */
  async pull(repository: string, digest: string): Promise<Buffer> {
    const response = await this.#request('GET', `/v2/${repository}/blobs/${digest}`, 200);
    return Buffer.from(await response.arrayBuffer());
  }

  /** The registry's answer and when it came: `200, 1000 bytes`; or what went wrong. */
  async outcome(
    method: 'HEAD' | 'GET',
    repository: string,
    digest: string,
    patienceMs: number,
  ): Promise<{ what: string; ms: number }> {
    const begun = performance.now();
    const what = await this.#outcome(method, `/v2/${repository}/blobs/${digest}`, patienceMs);
    return { what, ms: Math.round(performance.now() - begun) };
  }

  async #outcome(method: string, path: string, patienceMs: number): Promise<string> {
    try {
      const signal = AbortSignal.timeout(patienceMs);
      const response = await fetch(new URL(path, this.#url), { method, signal });
      const { byteLength } = await response.arrayBuffer();
      return method === 'GET' ? `${response.status}, ${byteLength} bytes` : String(response.status);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return error.name === 'TimeoutError' ? 'no answer' : 'the connection breaks';
    }
  }

  /** The status of a HEAD of the layer, asked with that token. */
  async head(repository: string, digest: string, token?: string): Promise<number> {
    const response = await fetch(`${this.#url}/v2/${repository}/blobs/${digest}`, {
      method: 'HEAD',
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
    return response.status;
  }

  /** Makes a layer of one repository one of another too, without an upload. */
  async mount(digest: string, from: string, to: string): Promise<void> {
    await this.#request('POST', `/v2/${to}/blobs/uploads/?mount=${digest}&from=${from}`, 201);
  }

  /** Deletes the layer from the repository through the registry's own API. */
  async delete(repository: string, digest: string): Promise<void> {
    await this.#request('DELETE', `/v2/${repository}/blobs/${digest}`, 202);
  }

  /**
   * Pushes an image of these layers, as a client does; gives the manifest's digest and the layers'.
   * `diffIds` are the digests of what the layers unpack to, which who unpacks them compares.
   */
  async pushImage(
    repository: string,
    layers: readonly Uint8Array[],
    diffIds: readonly string[] = [],
  ): Promise<{ manifest: string; layers: string[] }> {
    const rootfs = { type: 'layers', diff_ids: diffIds };
    const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs }));
    const blobs: { digest: string; size: number }[] = [];
    for (const bytes of [config, ...layers]) {
      // A client asks first and uploads only what is said to be missing.
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      if ((await this.head(repository, digest)) !== 200) await this.push(repository, bytes);
      blobs.push({ digest, size: bytes.length });
    }
    const [first, ...rest] = blobs;
    const image = 'application/vnd.docker.distribution.manifest.v2+json';
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: image,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', ...first },
      layers: rest.map((blob) => ({
        mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
        ...blob,
      })),
    });
    const path = `/v2/${repository}/manifests/latest`;
    const put = await this.#request('PUT', path, 201, Buffer.from(body), { 'content-type': image });
    return {
      manifest: put.headers.get('docker-content-digest') ?? '',
      layers: rest.map(({ digest }) => digest),
    };
  }

  /** Deletes a manifest by its digest, after which its layers are garbage. */
  async deleteManifest(repository: string, digest: string): Promise<void> {
    await this.#request('DELETE', `/v2/${repository}/manifests/${digest}`, 202);
  }

  /** Runs the registry's own garbage collection over the tree. */
  async collectGarbage(): Promise<void> {
    await promisify(execFile)('docker-registry', ['garbage-collect', this.#config], { timeout: 30_000 });
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #request(
    method: string,
    path: string,
    status: number,
    body?: Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const response = await fetch(new URL(path, this.#url), {
      method,
      headers,
      signal: AbortSignal.timeout(startTimeoutMs),
      ...(body && { body: Buffer.from(body) }),
    });
    if (response.status === status) return response;
    throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }

  async #listens(): Promise<void> {
    const deadline = Date.now() + startTimeoutMs;
    while (Date.now() < deadline && this.#child.exitCode === null) {
      const [, address] = /listening on ([0-9.:]+)/.exec(this.#log) ?? [];
      if (address !== undefined) {
        this.#url = `http://${address}`;
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await this.stop();
    throw new Error(`docker-registry does not listen\n${this.#log}`);
  }
}
