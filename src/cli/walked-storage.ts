/**
 * The storage and the cache that a command walks: opened by their URLs, and
 * closed however the walk ends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import type { CacheInventory } from '../cache/cache-inventory.js';
import { CacheUrlError } from '../cache/errors.js';
import { CacheError } from '../cache/layer-info-cache.js';
import { openInventory } from '../cache/open-inventory.js';
import { DriverExaminer, type Examiner } from '../maintenance/examiner.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { openStorage, parseFileUrl } from '../storage/open.js';
import { type StorageDriver, StorageError } from '../storage/storage-driver.js';
import { StorageUrlError } from '../storage/storage-url-error.js';
import { causeOf } from '../telemetry/error-text.js';
import { CommandError } from './command.js';
import { ConfigError } from './options.js';
import { examinerProgram, ThreadedExaminer } from './threaded-examiner.js';
import type { ProgressOutput } from './walk-progress.js';

/** Looks at once in a storage that is asked over a network. */
const looksAtOnce = 64;

/** Milliseconds that the end of the examiner's thread is waited for. */
const closeMs = 2_000;

export interface WalkedStorage {
  readonly driver: StorageDriver;
  readonly examiner: Examiner;
  /** Closes both. */
  close(): Promise<void>;
}

/** Throws `ConfigError` for a URL that cannot be opened, `StorageError` when the storage is not there. */
async function openWalkedStorage(
  url: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<WalkedStorage> {
  const driver = await named('storage', openStorage(url, { timeoutMs }));
  try {
    await driver.check(signal);
  } catch (error) {
    await driver.close();
    throw error;
  }
  if (!/^file:/i.test(url)) {
    return {
      driver,
      examiner: new DriverExaminer(driver, looksAtOnce),
      close: () => driver.close(),
    };
  }
  const examiner = new ThreadedExaminer({ ...parseFileUrl(url), timeoutMs }, examinerProgram);
  return {
    driver,
    examiner,
    close: async () => {
      await driver.close();
      await Promise.race([examiner.close(), sleep(closeMs, undefined, { ref: false })]);
    },
  };
}

export interface WalkSettings {
  /** URLs. */
  readonly storage: string;
  readonly cache: string;
  /** Milliseconds. */
  readonly storageTimeout: number;
  readonly cacheTimeout: number;
  /** Only these; all when there are none. */
  readonly repositories: readonly RepositoryName[];
  /** Whether to print JSON. */
  readonly json: boolean;
}

export interface Streams {
  readonly stdout: ProgressOutput;
  readonly stderr: ProgressOutput;
}

/**
 * Runs a walk over storage and, with `needsCache`, the cache. Returns what it
 * failed with, or that it was interrupted. Throws `ConfigError` for a URL that
 * cannot be opened.
 */
export async function walking(
  settings: WalkSettings,
  needsCache: boolean,
  signal: AbortSignal,
  onNotice: (line: string) => void,
  walk: (storage: WalkedStorage, inventory: CacheInventory | undefined) => Promise<void>,
): Promise<CommandError | undefined> {
  // Nearly all that a walk allocates is garbage at once: a heap that grows with it takes 40 MiB more.
  setFlagsFromString('--semi-space-growth-factor=1');
  let storage: WalkedStorage | undefined;
  let inventory: CacheInventory | undefined;
  try {
    storage = await openWalkedStorage(settings.storage, settings.storageTimeout, signal);
    if (needsCache) {
      const { cacheTimeout: timeoutMs } = settings;
      const onError = (error: Error) => onNotice(error.message);
      inventory = await named('cache', openInventory(settings.cache, { timeoutMs, onError }));
    }
    await walk(storage, inventory);
    return undefined;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    if (signal.reason instanceof CommandError) return signal.reason;
    // A defect keeps its stack.
    if (!(error instanceof StorageError || error instanceof CacheError)) throw error;
    const what = error instanceof CacheError ? 'cache' : 'storage';
    return new CommandError(`the ${what} failed: ${causeOf(error)}`, { cause: error });
  } finally {
    await inventory?.close();
    await storage?.close();
  }
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
