/** What a case works with: a place of its own, servers on one core, load from the other. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CertificateAuthority } from '../test/parts/certificate-authority.ts';
import type { LayerTree } from './layer-tree.ts';
import type { CallMix, LoadResult, LoadSpec } from './load/load-spec.ts';
import type { Requirement } from './packages.ts';
import { type Cores, clientCore, Processes, serverCore } from './processes.ts';
import { type Calls, Requests } from './requests.ts';
import { Layercache, type LayercacheOptions, type Telemetry } from './servers/layercache.ts';
import { startDockerRegistry, startGrpcGo, startGrpcJs, startHttp2 } from './servers/peers.ts';
import { RedisServer } from './servers/redis.ts';
import type { Certificate, Server } from './servers/server.ts';

export const silent: Telemetry = { traces: false, accessLog: false };
/** What an operator runs: metrics and 1 % of traces exported, each call logged. */
export const full: Telemetry = { traces: true, accessLog: true };

export interface Shape {
  readonly connections: number;
  readonly streams: number;
  readonly seconds?: number;
  readonly calls?: number;
  readonly rate?: number;
}

export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly folder: string;
  readonly tree: LayerTree;
  readonly available: ReadonlySet<Requirement>;
  readonly say: (text: string) => void;
}

const generator = join(import.meta.dirname, 'load', 'generator.ts');

export class Bench {
  readonly options: BenchOptions;
  readonly tree: LayerTree;
  readonly processes = new Processes();
  readonly requests: Requests;
  readonly folder: string;
  readonly #others: RedisServer[] = [];
  #redis: Promise<RedisServer> | undefined;
  #collector: Promise<number> | undefined;
  #authority: Promise<CertificateAuthority> | undefined;

  constructor(name: string, options: BenchOptions) {
    this.options = options;
    this.tree = options.tree;
    this.folder = join(options.folder, name);
    mkdirSync(this.folder, { recursive: true });
    this.requests = new Requests(this.folder, options.tree.repository);
  }

  /** One for the case, shared by all that ask for it. */
  redis(): Promise<RedisServer> {
    this.#redis ??= RedisServer.start(this.processes);
    return this.#redis;
  }

  /** One that nobody else asks for. */
  async anotherRedis(): Promise<RedisServer> {
    const redis = await RedisServer.start(this.processes);
    this.#others.push(redis);
    return redis;
  }

  async layercache(
    name: string,
    telemetry: Telemetry,
    {
      cache = 'memory:',
      storage = `file://${this.tree.root}`,
      nodeArgs = [],
      args = [],
      env = {},
      core = serverCore,
      certificate,
    }: Pick<LayercacheOptions, 'nodeArgs' | 'args' | 'env' | 'core' | 'certificate'> & {
      readonly cache?: string;
      readonly storage?: string;
    } = {},
  ): Promise<Layercache> {
    this.#collector ??= this.#startCollector();
    return await Layercache.start(this.processes, {
      name,
      telemetry,
      cache,
      nodeArgs,
      args,
      storage,
      env,
      core,
      certificate,
      collectorPort: telemetry.traces ? await this.#collector : 0,
      folder: this.folder,
    });
  }

  grpcJs(): Promise<Server> {
    return startGrpcJs(this.processes, this.tree.root);
  }

  http2(): Promise<Server> {
    return startHttp2(this.processes, this.tree.root);
  }

  /** Undefined where it cannot be had. */
  async dockerRegistry(): Promise<Server | undefined> {
    if (!this.options.available.has('docker-registry')) return undefined;
    const redisPort = (await this.redis()).port;
    return startDockerRegistry(this.processes, { root: this.tree.root, redisPort, folder: this.folder });
  }

  /** Undefined where it cannot be had. */
  async grpcGo(certificate?: Certificate): Promise<Server | undefined> {
    if (!this.options.available.has('go')) return undefined;
    const redisPort = (await this.redis()).port;
    return startGrpcGo(this.processes, { root: this.tree.root, redisPort, folder: this.folder, certificate });
  }

  /** For a server on the loopback; removed with the case. */
  async certificate(): Promise<Certificate> {
    this.#authority ??= CertificateAuthority.create();
    const authority = await this.#authority;
    const { certFile, keyFile } = await authority.issue({ names: ['IP:127.0.0.1'] });
    return { certFile, keyFile, caFile: authority.certFile };
  }

  /** Runs the load to its end; rejects when one answer was not as expected. */
  async load(
    server: Server,
    calls: Calls | CallMix,
    shape: Shape,
    { yields = false, core = clientCore }: { yields?: boolean; core?: Cores } = {},
  ): Promise<LoadResult> {
    const { protocol, port, caFile } = server;
    const mix = 'cycle' in calls ? calls : { kinds: [calls], cycle: [0] };
    const spec: LoadSpec = { protocol, port, ...(caFile !== undefined && { caFile }), ...mix, ...shape };
    const limit = (shape.seconds ?? 0) + 60;
    const stdout = await this.processes.run(
      process.execPath,
      [generator, JSON.stringify(spec)],
      { core, yields },
      limit,
    );
    return JSON.parse(stdout) as LoadResult;
  }

  /** Once each, so that every cache is warm. */
  async warm(server: Server, calls: Calls, count: number): Promise<void> {
    await this.load(
      server,
      { ...calls, expect: warmed(calls) },
      { connections: 1, streams: 8, calls: count },
    );
  }

  async close(): Promise<void> {
    const redis = await this.#redis?.catch(() => undefined);
    for (const one of [redis, ...this.#others]) one?.close();
    await this.processes.stopAll();
    await (await this.#authority?.catch(() => undefined))?.delete();
  }

  async #startCollector(): Promise<number> {
    const sink = join(import.meta.dirname, 'peers', 'otlp-sink.ts');
    return (await this.processes.startPeer(process.execPath, [sink], clientCore)).port;
  }
}

/** The first answer says another source than later ones. */
function warmed({ expect }: Calls): Calls['expect'] {
  return expect.kind === 'message' ? { kind: 'any' } : expect;
}
