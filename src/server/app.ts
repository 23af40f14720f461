/** The composition root: the only place that knows every concrete class. */

import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { CacheNotice, CacheUrlError, describeCache, openCache } from '../cache/open.js';
import { formatAddress } from '../cli/option-values.js';
import { type Config, ConfigError } from '../cli/options.js';
import { TlsKeyPairError } from '../grpc/tls-key-pair.js';
import { layerServices } from '../layer/layer-services.js';
import { defaultRpcServerSettings, RpcServer, type RpcServerParts } from '../rpc/server.js';
import { describeStorage, openStorage } from '../storage/open.js';
import { StorageUrlError } from '../storage/storage-url-error.js';
import { absenceLine, StorageWatch } from '../storage/storage-watch.js';
import { type Diagnosis, type DiagnosisResult, profileOfSignal } from '../telemetry/diagnostics.js';
import { causeOf, isDefect, withCause, withoutStack } from '../telemetry/error-text.js';
import { LogLimiter } from '../telemetry/log-limiter.js';
import { Readiness } from '../telemetry/readiness.js';
import { startTelemetry, type Telemetry } from '../telemetry/telemetry.js';
import { openAuthentication } from './authentication.js';
import { openDiagnoses } from './diagnoses.js';
import { type Notifications, openNotifications } from './notifications.js';
import { Shutdown } from './shutdown.js';
import { TlsFiles } from './tls-files.js';

/** The composed server, before it listens. */
export interface App {
  /** The cache and the storage as logs may name them. */
  readonly described: { readonly cache: string; readonly storage: string };
  readonly readiness: Readiness;
  /** The metrics of this process. */
  readonly telemetry: Pick<Telemetry, 'report' | 'metricsText' | 'debugVars' | 'errors'>;
  /** Listens for gRPC; resolves with the port. Rejects with a `ListenError`. */
  listen(): Promise<number>;
  /** Serves gRPC on a connection that another process accepted. */
  take(socket: Socket): void;
  /** The endpoint for notifications, if the options ask for one; it does not listen yet. */
  readonly notifications: Notifications | undefined;
  /** Adds something to close at shutdown, before all that was added earlier. */
  onShutdown(name: string, close: () => Promise<void> | void): void;
  /** Starts checking for the storage. */
  watch(): void;
  /** Writes a CPU profile or a heap snapshot of this process, and logs where. Never rejects. */
  diagnose(diagnosis?: Diagnosis): Promise<DiagnosisResult>;
  /** Keeps health at serving while other workers are ready, even if this process is not. */
  othersReady(ready: boolean): void;
  /** Accepts no new work, lets calls finish within the drain timeout, closes everything. Never rejects. */
  drain(): Promise<void>;
  /** Ends every call now. Never rejects. */
  cut(): Promise<void>;
  /** Closes everything, for a start that failed. Never rejects. */
  close(): Promise<void>;
}

/** What the app needs from its process. */
export interface ProcessContext {
  readonly log: Logger;
  readonly version: string;
  /** Lines that the log dropped. */
  readonly droppedLines: () => number;
  /** Which of several processes it is, counted from 1. */
  readonly worker?: number | undefined;
}

/** Milliseconds between two checks of a storage that is not there. */
const storageCheckInterval = 1000;
/** Milliseconds in which a repeated line is written once. */
const repeatedLineInterval = 1000;

/**
 * Composes the server. An absent cache or storage is no failure: the server is
 * not ready until the storage was seen. Throws `ConfigError` for a URL that
 * cannot be opened; then nothing is left open.
 */
export async function openApp(config: Config, context: ProcessContext): Promise<App> {
  const shutdown = new Shutdown(context.log);
  try {
    return await compose(config, context, shutdown);
  } catch (error) {
    await shutdown.closeAll();
    throw error;
  }
}

async function compose(config: Config, context: ProcessContext, shutdown: Shutdown): Promise<App> {
  const { log } = context;
  const limiter = new LogLimiter(repeatedLineInterval);
  shutdown.add('limiter', () => limiter.close());
  const readiness = new Readiness();
  const telemetry = await startTelemetry({
    ...context,
    accessLog: config['access-log'] === 'on',
    readiness,
  });
  shutdown.add('telemetry', () => telemetry.shutdown());

  const storage = telemetry.timed(
    await named('storage', openStorage(config.storage, { timeoutMs: config['storage-timeout'] })),
  );
  shutdown.add('storage', () => storage.close());

  const cache = telemetry.measured(
    await named(
      'cache',
      openCache(config.cache, {
        timeoutMs: config['cache-timeout'],
        onUp: (up) => readiness.cacheIs(up, 'its connection ended'),
        onBreakers: ({ reads, writes }) => telemetry.state.breakers(reads, writes),
        onError: (error) =>
          limiter.write(error instanceof CacheNotice ? error.message : 'cache connection', (suppressed) =>
            error instanceof CacheNotice
              ? log.warn({ err: withoutStack(error.cause), suppressed }, causeOf(error))
              : log.error(
                  { err: withoutStack(error), suppressed },
                  withCause('no connection to the cache', error),
                ),
          ),
      }),
    ),
  );
  shutdown.add('cache', () => cache.close());

  const services = layerServices({
    cache,
    driver: storage,
    observer: telemetry.observer,
    verify: config.verify,
    smallLayersBytes: config['small-layers'],
    storageTimeoutMs: config['storage-timeout'],
    revalidateAfterMs: config['revalidate-after'],
  });
  shutdown.add('services', () => services.close());

  const tls = await TlsFiles.open(config, log);
  shutdown.add('tls', () => tls?.close());
  const authentication = await openAuthentication(config, log, limiter);
  shutdown.add('authentication', () => authentication?.close());
  const rpc = await openRpcServer({
    layers: services.layers,
    info: services.info,
    observer: telemetry.callObserver,
    settings: {
      ...defaultRpcServerSettings,
      transport: config.transport,
      stallTimeoutMs: config['stall-timeout'],
      chunkSize: config['chunk-size'],
      reflection: config.reflection === 'on',
      maxStreams: config['max-streams'],
      maxInflight: config['max-inflight'],
      maxConnectionStreams: config['max-connection-streams'],
      maxConnections: config['max-connections'],
    },
    tls: tls?.identity,
    authenticator: authentication?.authenticator,
    // We log what matters ourselves.
    onLibraryLog: (detail) => log.debug({ detail }, 'grpc-js'),
  });
  tls?.follow(rpc);
  if (tls !== undefined) telemetry.state.certificate(() => tls.notAfter);
  const keySetAgeMs = authentication?.keySetAgeMs;
  if (keySetAgeMs !== undefined) telemetry.state.keySet(() => keySetAgeMs() / 1000);
  shutdown.add('rpc', () => rpc.cut());
  const notifications = await openNotifications(config, {
    info: services.info,
    driver: storage,
    observer: telemetry.notificationObserver,
    log,
  });
  shutdown.add('notifications', () => notifications?.close());
  const diagnoses = await openDiagnoses(config, log, context.worker);
  shutdown.add('diagnoses', () => diagnoses.close());
  const health = reportChanges(readiness, rpc, log, limiter);

  const watch = new StorageWatch(storage, {
    isUp: () => readiness.storageUp,
    onSeen: () => readiness.storageWasSeen(),
    onAbsent: (error) => {
      telemetry.errors.add('The storage is not there', error);
      log.warn(isDefect(error) ? { err: error } : {}, absenceLine(error, readiness.state.storageSeen));
    },
    intervalMs: storageCheckInterval,
  });
  return {
    described: { cache: describeCache(config.cache), storage: describeStorage(config.storage) },
    readiness,
    telemetry,
    listen: () => rpc.listen(formatAddress(config.listen)),
    take: (socket) => rpc.take(socket),
    notifications,
    onShutdown: (name, close) => shutdown.add(name, close),
    watch: () => {
      shutdown.add('watch', () => watch.close());
      // Not awaited: health probes are answered while a storage hangs.
      void watch.start();
    },
    diagnose: (diagnosis = profileOfSignal) => diagnoses.run(diagnosis),
    othersReady: health,
    drain: async () => {
      readiness.drain();
      await rpc.drain(config['drain-timeout']);
      await shutdown.closeAll();
    },
    cut: () => rpc.cut(),
    close: () => shutdown.closeAll(),
  };
}

/** A key that does not match its certificate is a mistake in the options that name them. */
async function openRpcServer(parts: RpcServerParts): Promise<RpcServer> {
  try {
    return await RpcServer.open(parts);
  } catch (error) {
    if (!(error instanceof TlsKeyPairError)) throw error;
    const options = error.part === 'clientCa' ? '--tls-client-ca' : '--tls-cert, --tls-key';
    throw new ConfigError(`${options}: ${error.message}`, { cause: error });
  }
}

/** What an outage means, until it ends. */
const degraded = {
  cache: 'the cache fails, every answer comes from storage',
  storage: 'the storage fails, only cached answers are served',
} as const;

/**
 * Health follows readiness, and each change that matters is logged. Returns what
 * to call when other workers become ready, or none is.
 */
function reportChanges(
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
    // Until the storage was first seen its watch logs it.
    else if (last.storageSeen && state.storageUp !== last.storageUp) tell('storage', state.storageUp);
    last = state;
  });
  const tell = (plug: 'cache' | 'storage', up: boolean) =>
    limiter.write(`${plug} ${up}`, (suppressed) =>
      up
        ? log.info({ suppressed }, `the ${plug} is back`)
        : log.error({ suppressed }, withCause(degraded[plug], readiness.failureOf(plug))),
    );
  return (ready) => {
    others = ready;
    rpc.setServing(readiness.state.ready || others);
  };
}

/** A URL that cannot be opened is a mistake in the option that gave it. */
async function named<T>(option: 'cache' | 'storage', opened: Promise<T>): Promise<T> {
  try {
    return await opened;
  } catch (error) {
    if (!(error instanceof CacheUrlError || error instanceof StorageUrlError)) throw error;
    throw new ConfigError(`--${option}: ${error.message}`, { cause: error });
  }
}
