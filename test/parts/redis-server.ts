/**
 * A real `redis-server` of the test's own: a free port of the loopback, an
 * empty temporary directory, nothing saved to disk. Whoever starts one stops
 * it; what a test leaves behind ends with its process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis, type RedisOptions } from 'ioredis';

export interface RedisServerOptions {
  /** More of redis-server's own arguments: `['--maxmemory', '1mb']`. */
  readonly args?: readonly string[];
  /** Be a node of a cluster that is yet to be made. */
  readonly cluster?: boolean;
  /** Be a sentinel, with these lines of configuration. */
  readonly sentinel?: readonly string[];
  /**
   * Speak TLS only, with these PEM files. The certificate is its own authority; or there is one,
   * and whoever comes shows a certificate of its.
   */
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile?: string };
  /** Who the test itself is there, when not everybody is let in. */
  readonly account?: { readonly username: string; readonly password: string };
}

// ioredis takes an option of that name only where its value is known to the compiler.
type ClientOptions = Omit<RedisOptions, 'replyMapping'>;

const startTimeoutMs = 10_000;

export class RedisServer {
  readonly port: number;
  /** Where the nodes of a cluster speak to one another. */
  readonly busPort: number;
  readonly #directory: string;
  readonly #options: RedisServerOptions;
  readonly #clients = new Set<Redis>();
  // One listener for all: some worlds have a dozen servers.
  static readonly #running = new Set<RedisServer>();
  static {
    process.on('exit', () => {
      for (const server of RedisServer.#running) server.#child?.kill('SIGKILL');
    });
  }
  #child: ChildProcess | undefined;

  private constructor(port: number, busPort: number, directory: string, options: RedisServerOptions) {
    this.port = port;
    this.busPort = busPort;
    this.#directory = directory;
    this.#options = options;
    RedisServer.#running.add(this);
  }

  /** Resolves when the server accepts connections. */
  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    // A port that was free a moment ago may be taken by another test's server.
    for (let attempt = 1; ; attempt++) {
      const directory = await mkdtemp(join(tmpdir(), 'layercache-redis-'));
      const server = new RedisServer(await freePort(), await freePort(), directory, options);
      try {
        await server.#spawn();
        return server;
      } catch (error) {
        await server.stop();
        if (attempt === 3 || !(error instanceof Error && error.message.includes('Address already in use')))
          throw error;
      }
    }
  }

  /** What `--cache` takes. */
  get url(): string {
    return `${this.#options.tls === undefined ? 'redis' : 'rediss'}://127.0.0.1:${this.port}`;
  }

  /** A plain client that waits until it is connected; `stop` closes it. */
  async client(options: ClientOptions = {}): Promise<Redis> {
    const { tls, account } = this.#options;
    const place = { host: '127.0.0.1', port: this.port, lazyConnect: true };
    const connection: ClientOptions = { ...place, ...account, ...options };
    if (tls !== undefined) connection.tls = await clientTls(tls);
    const client = new Redis(connection);
    this.#clients.add(client);
    // What fails shows in the commands; without a listener it would be printed.
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  /** SIGSTOP: connections stay, and are even accepted; nothing is answered. */
  pause(): void {
    this.#signal('SIGSTOP');
  }

  /** SIGCONT. */
  resume(): void {
    this.#signal('SIGCONT');
  }

  /** SIGKILL; resolves when the process is gone. Its data go with it. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  /** Starts again on the same port, empty; kills first what still runs. */
  async restart(): Promise<void> {
    await this.kill();
    await this.#spawn();
  }

  /** Ends everything and removes the directory. Idempotent. */
  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    this.#clients.clear();
    await this.kill();
    RedisServer.#running.delete(this);
    await rm(this.#directory, { recursive: true, force: true });
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child?.kill(signal) !== true) throw new Error('the redis-server does not run');
  }

  #node(): string[] {
    const settings = {
      enabled: 'yes',
      port: String(this.busPort),
      'node-timeout': '500',
      'replica-validity-factor': '0',
      'require-full-coverage': 'no',
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--cluster-${name}`, value]);
    return [...args, '--repl-diskless-sync-delay', '0'];
  }

  async #role(): Promise<string[]> {
    const { sentinel, cluster = false } = this.#options;
    if (sentinel === undefined) return ['--save', '', '--appendonly', 'no', ...(cluster ? this.#node() : [])];
    // It writes down there what it learns.
    const file = join(this.#directory, 'sentinel.conf');
    await writeFile(file, `${sentinel.join('\n')}\n`);
    return [file, '--sentinel'];
  }

  async #spawn(): Promise<void> {
    const { tls, args = [] } = this.#options;
    const port = String(this.port);
    const listen =
      tls === undefined
        ? ['--port', port]
        : ['--port', '0', '--tls-port', port, '--tls-cert-file', tls.certFile, '--tls-key-file', tls.keyFile];
    if (tls !== undefined) {
      const { certFile, caFile } = tls;
      const yes = (name: string) => [`--tls-${name}`, caFile === undefined ? 'no' : 'yes'];
      listen.push('--tls-ca-cert-file', caFile ?? certFile, ...yes('auth-clients'), ...yes('replication'));
      if (this.#options.cluster) listen.push(...yes('cluster'));
    }
    const child = spawn(
      'redis-server',
      [...(await this.#role()), ...listen, '--bind', '127.0.0.1', ...args],
      {
        cwd: this.#directory,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#child = child;
    await started(child);
  }
}

async function clientTls({ certFile, keyFile, caFile }: NonNullable<RedisServerOptions['tls']>) {
  if (caFile === undefined) return { ca: await readFile(certFile) };
  const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map((file) => readFile(file)));
  // By whatever name it has: that the servers are who they are is the client's to test, not the test's.
  return { ca, cert, key, checkServerIdentity: () => undefined };
}

/** Resolves when the server says that it is ready; rejects with what it said when it ends or hangs. */
async function started(child: ChildProcess): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let said = '';
  const listen = (chunk: Buffer) => {
    said += chunk.toString();
    if (said.includes('Ready to accept connections') || said.includes('Sentinel ID is')) resolve();
  };
  const fail = (how: string) => reject(new Error(`redis-server ${how}: ${said}`));
  const onExit = () => fail('ended');
  child.stdout?.on('data', listen);
  child.stderr?.on('data', listen);
  child.once('error', reject);
  child.once('exit', onExit);
  const timer = setTimeout(fail, startTimeoutMs, 'did not start');
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    child.off('exit', onExit);
    child.stdout?.off('data', listen).resume();
    child.stderr?.off('data', listen).resume();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('the probe has no port');
  return address.port;
}
