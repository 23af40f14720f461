/** The composition root: the only place that knows every concrete class. */
import type { Socket } from 'node:net';
import { setLogger } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { CacheNotice, CacheUrlError, describeCache, openCache } from '../cache/open.js';
import { formatAddress } from '../cli/option-values.js';
import { type Config, ConfigError } from '../cli/options.js';
import { TlsIdentityError } from '../grpc/tls-handshakes.js';
import { layerServices } from '../layer/layer-services.js';
import { defaultRpcServerSettings, RpcServer, type RpcServerParts } from '../rpc/server.js';
import { describeStorage, openStorage } from '../storage/open.js';
import { StorageUrlError } from '../storage/storage-url-error.js';
import { absenceLine, isDefect, StorageWatch } from '../storage/storage-watch.js';
import { LogLimiter } from '../telemetry/log-limiter.js';
import { Readiness } from '../telemetry/readiness.js';
import { startTelemetry, type Telemetry } from '../telemetry/telemetry.js';
import { openCallers } from './callers.js';
import { Closing } from './closing.js';
import { TlsFiles } from './credentials.js';

/** What answers, before anybody can reach it. */
export interface App {
  /** The cache and the storage as logs may name them. */
  readonly described: { readonly cache: string; readonly storage: string };
  readonly readiness: Readiness;
  /** The numbers of this process. */
  readonly telemetry: Pick<Telemetry, 'report' | 'metricsText' | 'debugVars'>;
  /** Listens for gRPC; resolves with the port. Rejects with a `ListenError`. */
  listen(): Promise<number>;
  /** Serves gRPC on a connection that somebody else accepted. */
  take(socket: Socket): void;
  /** Has something closed with the rest, before it. */
  closing(name: string, close: () => Promise<void> | void): void;
  /** Looks for the storage, from now on. */
  watch(): void;
  /** Says that health is good also while this process is not ready: others answer as well. */
  othersReady(ready: boolean): void;
  /** Takes no new work, lets what has begun finish within the drain timeout, closes everything. Never rejects. */
  drain(): Promise<void>;
  /** Ends every call now. Never rejects. */
  cut(): Promise<void>;
  /** Closes everything, for a start that failed. Never rejects. */
  close(): Promise<void>;
}

/** What an app is told of the process that it lives in. */
export interface Surroundings {
  readonly log: Logger;
  readonly version: string;
  /** Lines that the log could not take. */
  readonly droppedLines: () => number;
  /** Which of several processes it is, counted from 1. */
  readonly worker?: number | undefined;
}

/** Milliseconds from one look at a storage that is not there to the next. */
const storageLookInterval = 1000;
/** Milliseconds in which a repeated line is written once. */
const repeatedLineInterval = 1000;

/**
 * Builds what answers. That the cache or the storage is not there is no
 * failure: it is not ready until the storage was seen. Throws `ConfigError` for
 * a URL that nothing can be opened from; then nothing is left open.
 */
export async function openApp(config: Config, surroundings: Surroundings): Promise<App> {
  const closing = new Closing(surroundings.log);
  try {
    return await compose(config, surroundings, closing);
  } catch (error) {
    await closing.closeAll();
    throw error;
  }
}

async function compose(config: Config, surroundings: Surroundings, closing: Closing): Promise<App> {
  const { log } = surroundings;
  // The library would write lines of its own to stderr; what matters of them we say ourselves.
  const aside = (detail: unknown) => log.debug({ detail: String(detail) }, 'grpc-js');
  setLogger({ error: aside, info: aside, debug: aside });

  const limiter = new LogLimiter(repeatedLineInterval);
  closing.add('limiter', () => limiter.close());
  const readiness = new Readiness();
  const telemetry = await startTelemetry({
    ...surroundings,
    accessLog: config['access-log'] === 'on',
    readiness,
  });
  closing.add('telemetry', () => telemetry.shutdown());

  const storage = telemetry.timed(
    await named('storage', openStorage(config.storage, { timeoutMs: config['storage-timeout'] })),
  );
  closing.add('storage', () => storage.close());

  const cache = telemetry.measured(
    await named(
      'cache',
      openCache(config.cache, {
        timeoutMs: config['cache-timeout'],
        onUp: (up) => readiness.cacheIs(up),
        onError: (error) =>
          limiter.write(error instanceof CacheNotice ? error.message : 'cache connection', (suppressed) =>
            error instanceof CacheNotice
              ? log.warn({ err: error.cause, suppressed }, error.message)
              : log.error({ err: error, suppressed }, 'no connection to the cache'),
          ),
      }),
    ),
  );
  closing.add('cache', () => cache.close());

  const services = layerServices({
    cache,
    driver: storage,
    observer: telemetry.observer,
    verify: config.verify,
    smallLayersBytes: config['small-layers'],
    storageTimeoutMs: config['storage-timeout'],
    revalidateAfterMs: config['revalidate-after'],
  });
  closing.add('services', () => services.close());

  const tls = await TlsFiles.open(config, log);
  closing.add('tls', () => tls?.close());
  const callers = await openCallers(config, log, limiter);
  closing.add('callers', () => callers?.close());
  const rpc = rpcServer({
    layers: services.layers,
    info: services.info,
    observer: telemetry.callObserver,
    settings: {
      ...defaultRpcServerSettings,
      stallTimeoutMs: config['stall-timeout'],
      chunkSize: config['chunk-size'],
      reflection: config.reflection === 'on',
      maxStreams: config['max-streams'],
      maxInflight: config['max-inflight'],
      maxConnectionStreams: config['max-connection-streams'],
      maxConnections: config['max-connections'],
    },
    tls: tls?.identity,
    authenticator: callers?.authenticator,
  });
  tls?.follow(rpc);
  closing.add('rpc', () => rpc.cut());
  const health = tellChanges(readiness, rpc, log, limiter);

  const watch = new StorageWatch(storage, {
    isUp: () => readiness.storageUp,
    onSeen: () => readiness.storageWasSeen(),
    onAbsent: (error) =>
      log.warn(isDefect(error) ? { err: error } : {}, absenceLine(error, readiness.state.storageSeen)),
    intervalMs: storageLookInterval,
  });
  return {
    described: { cache: describeCache(config.cache), storage: describeStorage(config.storage) },
    readiness,
    telemetry,
    listen: () => rpc.listen(formatAddress(config.listen)),
    take: (socket) => rpc.take(socket),
    closing: (name, close) => closing.add(name, close),
    watch: () => {
      closing.add('watch', () => watch.close());
      // Not waited for: a storage that hangs must not keep the health probes from an answer.
      void watch.start();
    },
    othersReady: health,
    drain: async () => {
      readiness.drain();
      await rpc.drain(config['drain-timeout']);
      await closing.closeAll();
    },
    cut: () => rpc.cut(),
    close: () => closing.closeAll(),
  };
}

/** A certificate without its key is a mistake in the options that name them. */
function rpcServer(parts: RpcServerParts): RpcServer {
  try {
    return new RpcServer(parts);
  } catch (error) {
    if (!(error instanceof TlsIdentityError)) throw error;
    const options = error.part === 'clientCa' ? '--tls-client-ca' : '--tls-cert, --tls-key';
    throw new ConfigError(`${options}: ${error.message}`, { cause: error });
  }
}

/**
 * What health says follows readiness; people are told of each change that
 * matters. Gives what to call when others become ready, or none is.
 */
function tellChanges(
  readiness: Readiness,
  rpc: RpcServer,
  log: Logger,
  limiter: LogLimiter,
): (othersReady: boolean) => void {
  let last = readiness.state;
  let others = false;
  readiness.onChange((state) => {
    rpc.setServing(state.ready || others);
    if (state.ready && !last.ready) log.info('ready');
    if (state.cacheUp !== last.cacheUp) tell('cache', state.cacheUp);
    // Until it was first seen the watch speaks of it.
    else if (last.storageSeen && state.storageUp !== last.storageUp) tell('storage', state.storageUp);
    last = state;
  });
  const tell = (plug: string, up: boolean) =>
    limiter.write(`${plug} ${up}`, (suppressed) =>
      up
        ? log.info({ suppressed }, `the ${plug} is back`)
        : log.error({ suppressed }, `the ${plug} does not answer`),
    );
  return (ready) => {
    others = ready;
    rpc.setServing(readiness.state.ready || others);
  };
}

/** A URL that nothing can be opened from is a mistake in the option that gave it. */
async function named<T>(option: 'cache' | 'storage', opened: Promise<T>): Promise<T> {
  try {
    return await opened;
  } catch (error) {
    if (!(error instanceof CacheUrlError || error instanceof StorageUrlError)) throw error;
    throw new ConfigError(`--${option}: ${error.message}`, { cause: error });
  }
}
