/**
 * Azurite, Microsoft's own emulator of Azure's blob storage, on a free port of
 * the loopback, in memory. Whoever starts one stops it. A package of its own,
 * installed beside the tests on their first run: it is as large as all the rest.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient, type ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { freePort } from './free-port.js';
import { pauseProcess } from './paused-process.js';

const folder = join(import.meta.dirname, 'azurite');
const program = join(folder, 'node_modules', 'azurite', 'dist', 'src', 'blob', 'main.js');

export default function installAzurite(): void {
  if (existsSync(program)) return;
  console.error("installing Azure's emulator for the tests …");
  execFileSync('npm', ['ci', '--silent', '--ignore-scripts'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 300_000,
  });
}

const startTimeoutMs = 20_000;

/** A container that a test fills. */
export class Container {
  readonly name: string;
  readonly #azurite: Azurite;
  readonly #client: ContainerClient;

  constructor(name: string, azurite: Azurite, client: ContainerClient) {
    this.name = name;
    this.#azurite = azurite;
    this.#client = client;
  }

  /** What `--storage` takes: the folder of that name as root. */
  url(prefix = '', more: Readonly<Record<string, string>> = {}): string {
    const query = new URLSearchParams({ endpoint: this.#azurite.endpoint, ...more });
    return `azblob://${this.#azurite.account}/${this.name}/${prefix}?${query}`;
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.#client.getBlockBlobClient(key).upload(Buffer.from(bytes), bytes.length);
  }

  async remove(key: string): Promise<void> {
    await this.#client.deleteBlob(key);
  }

  async delete(): Promise<void> {
    await this.#client.delete();
  }
}

export class Azurite {
  readonly port: number;
  /** The account that it has, and its key, as documented. */
  readonly account = 'devstoreaccount1';
  readonly key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';
  readonly #directory: string;
  readonly #killAtExit = () => this.#child?.kill('SIGKILL');
  #child: ChildProcess | undefined;

  private constructor(port: number, directory: string) {
    this.port = port;
    this.#directory = directory;
    process.on('exit', this.#killAtExit);
  }

  /** Resolves when it answers. */
  static async start(): Promise<Azurite> {
    const azurite = new Azurite(await freePort(), await mkdtemp(join(tmpdir(), 'layercache-azurite-')));
    try {
      await azurite.#spawn();
      return azurite;
    } catch (error) {
      await azurite.stop();
      throw error;
    }
  }

  /** What container names are appended to. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.port}/${this.account}`;
  }

  get service(): BlobServiceClient {
    return new BlobServiceClient(this.endpoint, new StorageSharedKeyCredential(this.account, this.key));
  }

  /** Makes an empty container of a new name. */
  async createContainer(): Promise<Container> {
    const name = `c-${randomUUID()}`;
    const { containerClient } = await this.service.createContainer(name);
    return new Container(name, this, containerClient);
  }

  /** SIGSTOP: connections stay, and are even accepted; nothing is answered. */
  pause(): Promise<void> {
    return pauseProcess(this.#child);
  }

  /** SIGCONT. */
  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    }
    process.off('exit', this.#killAtExit);
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #spawn(): Promise<void> {
    const where = ['--blobHost', '127.0.0.1', '--blobPort', String(this.port)];
    // Without the check's absence it refuses every client that is newer than itself.
    const how = ['--silent', '--disableTelemetry', '--skipApiVersionCheck', '--inMemoryPersistence'];
    this.#child = spawn(process.execPath, [program, ...where, ...how], {
      cwd: this.#directory,
      stdio: 'ignore',
    });
    const deadline = Date.now() + startTimeoutMs;
    for (;;) {
      try {
        await (await fetch(this.endpoint)).arrayBuffer();
        return;
      } catch (error) {
        if (Date.now() > deadline || this.#child.exitCode !== null) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
}
