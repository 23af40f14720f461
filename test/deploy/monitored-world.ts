/** Servers that a Prometheus scrapes, under load: one of several workers, one alone, one with TLS and tokens. */
import { copyFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { freePort } from '../parts/free-port.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { issuer, service, TokenIssuer } from '../parts/token-issuer.js';
import { EveryCall } from './every-call.js';

export const repository = repositoryNamed('library/app');
/** Connections that the server that is alone takes at once. */
export const maxConnections = 8;

const driver = join(import.meta.dirname, '..', 'parts', 'faulty-file-driver.mjs');

export class MonitoredWorld {
  readonly redis: RedisServer;
  /** What two workers over Redis serve. */
  readonly sharedTree: TemporaryTree;
  /** What a server alone serves, through a driver that fails when `faultFile` says so. */
  readonly loneTree: TemporaryTree;
  readonly authority: CertificateAuthority;
  readonly #issuing: Server;
  readonly #servers = new Map<string, LayercacheProcess>();
  readonly #clients: LayerClient[] = [];
  #loads: EveryCall[] = [];
  #events: NodeJS.Timeout | undefined;
  /** Where no server is yet. */
  #vacant = '';

  private constructor(
    redis: RedisServer,
    trees: readonly [TemporaryTree, TemporaryTree],
    authority: CertificateAuthority,
    issuing: Server,
  ) {
    this.redis = redis;
    [this.sharedTree, this.loneTree] = trees;
    this.authority = authority;
    this.#issuing = issuing;
  }

  static async start(): Promise<MonitoredWorld> {
    const [redis, sharedTree, loneTree, authority] = await Promise.all([
      RedisServer.start(),
      TemporaryTree.create(),
      TemporaryTree.create(),
      CertificateAuthority.create(),
    ]);
    const keys = JSON.stringify({ keys: [new TokenIssuer(authority).jwk('one')] });
    const issuing = createServer((_request, response) => response.end(keys));
    await new Promise<void>((resolve) => issuing.listen(0, '127.0.0.1', resolve));
    const world = new MonitoredWorld(redis, [sharedTree, loneTree], authority, issuing);
    try {
      await world.#start();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** A server by the name it has here. */
  server(name: 'workers' | 'alone' | 'secured' | 'unready'): LayercacheProcess {
    const server = this.#servers.get(name);
    if (server === undefined) throw new TypeError(`there is no server ${name}`);
    return server;
  }

  /** `--admin` of all, and an address where no server is. */
  get targets(): readonly string[] {
    return [...Array.from(this.#servers.values(), ({ admin }) => admin), this.#vacant];
  }

  get vacantTarget(): string {
    return this.#vacant;
  }

  get faultFile(): string {
    return join(this.loneTree.outside, 'fault.json');
  }

  /** The files of the server with TLS. */
  get pair(): { readonly cert: string; readonly key: string } {
    const { outside } = this.sharedTree;
    return { cert: join(outside, 'cert.pem'), key: join(outside, 'key.pem') };
  }

  /** Where a registry's tree is missing. */
  get missingRoot(): string {
    return join(this.sharedTree.outside, 'missing');
  }

  /** A client of the server alone, on a connection of its own. */
  client(): LayerClient {
    const client = new LayerClient(this.server('alone').listen);
    this.#clients.push(client);
    return client;
  }

  /** Starts a server where none is. */
  async fillVacancy(): Promise<void> {
    await this.#run('late', [`--storage=file://${this.loneTree.root}`, `--admin=${this.#vacant}`]);
  }

  async close(): Promise<void> {
    clearInterval(this.#events);
    await Promise.all(this.#loads.map((load) => load.stop()));
    for (const client of this.#clients) client.close();
    await Promise.all(Array.from(this.#servers.values(), (server) => server.stop()));
    this.#issuing.closeAllConnections();
    this.#issuing.close();
    await Promise.all([
      this.redis.stop(),
      this.sharedTree.delete(),
      this.loneTree.delete(),
      this.authority.delete(),
    ]);
  }

  async #start(): Promise<void> {
    this.#vacant = `127.0.0.1:${await freePort()}`;
    const { pair, sharedTree, loneTree } = this;
    const expiring = await this.authority.issue({ names: ['DNS:localhost'], days: 3 });
    await Promise.all([copyFile(expiring.certFile, pair.cert), copyFile(expiring.keyFile, pair.key)]);
    const { port } = this.#issuing.address() as AddressInfo;
    const lone = new URLSearchParams({ root: loneTree.root, timeout: '10000', fault: this.faultFile });
    await this.#run('workers', [
      ...['--workers=2', `--cache=${this.redis.url}`, `--storage=file://${sharedTree.root}`],
    ]);
    await this.#run('alone', [
      ...[`--storage=module:${driver}?${lone}`, `--max-connections=${maxConnections}`],
      '--notifications=127.0.0.1:0',
    ]);
    this.#events = setInterval(() => void this.#tellOfEvent(), 500);
    await this.#run('secured', [
      ...[`--storage=file://${sharedTree.root}`, `--tls-cert=${pair.cert}`, `--tls-key=${pair.key}`],
      ...['--auth=jwt', `--auth-issuer=${issuer}`, `--auth-service=${service}`],
      `--auth-jwks=http://127.0.0.1:${port}/keys`,
    ]);
    await this.#run('unready', [`--storage=file://${this.missingRoot}`]);
    const ofWorkers = Array.from({ length: 2 }, () => new LayerClient(this.server('workers').listen));
    this.#clients.push(...ofWorkers);
    this.#loads = await Promise.all([
      ...ofWorkers.map((client) => EveryCall.start(client, sharedTree, repository)),
      EveryCall.start(this.client(), loneTree, repository),
    ]);
  }

  /** As a registry does of a pull; an answer that does not come is of no account here. */
  async #tellOfEvent(): Promise<void> {
    const events = [{ action: 'pull', target: { repository } }];
    await fetch(`http://${this.server('alone').notifications}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.docker.distribution.events.v1+json' },
      body: JSON.stringify({ events }),
    }).catch(() => {});
  }

  async #run(name: string, args: readonly string[]): Promise<void> {
    this.#servers.set(name, await LayercacheProcess.start(args));
  }
}
