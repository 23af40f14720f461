/** The composition root: the only place that knows every concrete class. */
import { setLogger } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { AdminServer } from './admin/admin-server.js';
import { CacheUrlError, describeCache, openCache } from './cache/open.js';
import { openCallers } from './callers.js';
import { type Config, ConfigError } from './config.js';
import { TlsFiles, warnOfStrangers } from './credentials.js';
import { layerServices } from './layer/layer-services.js';
import { type Address, formatAddress } from './option-values.js';
import { defaultRpcServerSettings, RpcServer, type RpcServerParts } from './rpc/server.js';
import { TlsIdentityError } from './rpc/tls-handshakes.js';
import { describeStorage, openStorage } from './storage/open.js';
import { StorageUrlError } from './storage/storage-url-error.js';
import { StorageWatch } from './storage/storage-watch.js';
import { LogLimiter } from './telemetry/log-limiter.js';
import { Readiness } from './telemetry/readiness.js';
import { startTelemetry } from './telemetry/telemetry.js';

/** A server that is up. */
export interface App {
  /** Where gRPC is served, with the port that was bound. */
  readonly listen: string;
  /** Where HTTP is served, with the port that was bound; `undefined` when it is off. */
  readonly admin: string | undefined;
  /** Takes no new work, lets what has begun finish within the drain timeout, closes everything. Never rejects. */
  drain(): Promise<void>;
  /** Ends every call now. Never rejects. */
  cut(): Promise<void>;
}

/** The server cannot start here; the message is one line for the operator. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** Milliseconds from one look at a storage that is not there to the next. */
const storageLookInterval = 1000;
/** Milliseconds that one part may take to close; a hung disk must not hold up the end. */
const closeDeadline = 2000;
/** Milliseconds in which a repeated line is written once. */
const repeatedLineInterval = 1000;

/**
 * Starts the server. That the cache or the storage is not there is no failure:
 * it is up, and not ready until the storage was seen. Throws `ConfigError` for
 * a URL that nothing can be opened from and `StartError` for an address that
 * cannot be listened on; then nothing is left open.
 */
export async function startApp(config: Config, log: Logger, version: string): Promise<App> {
  const closing = new Closing(log);
  try {
    return await compose(config, log, version, closing);
  } catch (error) {
    await closing.closeAll();
    throw error;
  }
}

async function compose(config: Config, log: Logger, version: string, closing: Closing): Promise<App> {
  // The library would write lines of its own to stderr; what matters of them we say ourselves.
  const aside = (detail: unknown) => log.debug({ detail: String(detail) }, 'grpc-js');
  setLogger({ error: aside, info: aside, debug: aside });

  const limiter = new LogLimiter(repeatedLineInterval);
  closing.add('limiter', () => limiter.close());
  const readiness = new Readiness();
  const telemetry = await startTelemetry({
    log,
    accessLog: config['access-log'] === 'on',
    version,
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
          limiter.write('cache connection', (suppressed) =>
            log.error({ err: error, suppressed }, 'no connection to the cache'),
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
    storageTimeoutMs: config['storage-timeout'],
    revalidateAfterMs: config['revalidate-after'],
  });
  closing.add('services', () => services.close());

  warnOfStrangers(config, log);
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
  const admin = new AdminServer({
    readiness,
    metricsText: telemetry.metricsText,
    debugVars: telemetry.debugVars,
    failed: (error) => log.error({ err: error }, 'an admin request failed'),
  });
  closing.add('admin', () => admin.close());
  closing.add('rpc', () => rpc.cut());
  tellChanges(readiness, rpc, log, limiter);

  const listen = await bound(config.listen, rpc.listen(formatAddress(config.listen)));
  const adminAddress =
    config.admin && (await bound(config.admin, admin.listen(config.admin.host, config.admin.port)));
  log.info(
    {
      listen,
      admin: adminAddress,
      cache: describeCache(config.cache),
      storage: describeStorage(config.storage),
    },
    `layercache ${version} is listening`,
  );

  const watch = new StorageWatch(storage, {
    isUp: () => readiness.storageUp,
    onSeen: () => readiness.storageWasSeen(),
    onAbsent: (error) =>
      log.warn(
        { err: error },
        readiness.state.storageSeen
          ? 'the storage is not there'
          : 'the storage is not there yet: not ready until it is',
      ),
    intervalMs: storageLookInterval,
  });
  closing.add('watch', () => watch.close());
  // Not waited for: a storage that hangs must not keep the health probes from an answer.
  void watch.start();

  return {
    listen,
    admin: adminAddress,
    drain: async () => {
      readiness.drain();
      await rpc.drain(config['drain-timeout']);
      await closing.closeAll();
    },
    cut: () => rpc.cut(),
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

/** What health says follows readiness; people are told of each change that matters. */
function tellChanges(readiness: Readiness, rpc: RpcServer, log: Logger, limiter: LogLimiter): void {
  let last = readiness.state;
  readiness.onChange((state) => {
    rpc.setServing(state.ready);
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

async function bound(address: Address, listening: Promise<number>): Promise<string> {
  try {
    return formatAddress({ host: address.host, port: await listening });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const inUse = 'code' in error && error.code === 'EADDRINUSE';
    const reason = inUse
      ? `cannot listen on ${formatAddress(address)}: the address is in use`
      : error.message;
    throw new StartError(reason, { cause: error });
  }
}

/** What was opened, closed in the opposite order, each within its deadline. */
class Closing {
  readonly #log: Logger;
  readonly #parts: { readonly name: string; readonly close: () => Promise<void> | void }[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  add(name: string, close: () => Promise<void> | void): void {
    this.#parts.push({ name, close });
  }

  async closeAll(): Promise<void> {
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      await this.#close(part.name, part.close);
    }
  }

  async #close(name: string, close: () => Promise<void> | void): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#log.warn(`${name} did not close in time`);
      late.resolve();
    }, closeDeadline);
    try {
      await Promise.race([close(), late.promise]);
    } catch (error) {
      this.#log.warn({ err: error }, `${name} did not close well`);
    } finally {
      clearTimeout(timer);
    }
  }
}
