/** What `layercache doctor` does: looks at all that a server with these options depends on. */
import { CacheUrlError } from '../../cache/errors.js';
import { parseCacheUrl } from '../../cache/open.js';
import { openStorage } from '../../storage/open.js';
import type { StorageDriver } from '../../storage/storage-driver.js';
import { StorageUrlError } from '../../storage/storage-url-error.js';
import { type Config, ConfigError } from '../options.js';
import { authFindings } from './auth-findings.js';
import { cacheFindings } from './cache-findings.js';
import { storageClockFindings } from './clock-findings.js';
import { fileFindings } from './file-findings.js';
import { type Finding, fail, findingLine } from './finding.js';
import { limitsFindings } from './limits-findings.js';
import { portFindings } from './port-findings.js';
import { storageFindings } from './storage-findings.js';
import { tlsFindings } from './tls-findings.js';

/** Milliseconds that each part may take; they run at once. */
const patienceMs = 10_000;

interface Part {
  readonly what: string;
  readonly findings: Promise<readonly Finding[]>;
}

/**
 * Prints what it finds, and resolves with whether something is wrong. Rejects
 * with a `ConfigError` for a URL that cannot be opened.
 */
export async function examine(
  config: Config,
  json: boolean,
  signal: AbortSignal,
  stdout: { write(text: string): unknown },
): Promise<boolean> {
  const driver = await opened(config);
  const ending = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
  const parts: readonly Part[] = [
    { what: 'storage', findings: storageFindings(driver, config, ending) },
    { what: 'cache', findings: cacheFindings(config) },
    { what: 'tls', findings: tlsFindings(config) },
    { what: 'auth', findings: authFindings(config) },
    { what: 'files', findings: fileFindings(config) },
    { what: 'clock', findings: storageClockFindings(config.storage, ending) },
    { what: 'limits', findings: limitsFindings(config) },
    { what: 'port', findings: portFindings(config) },
  ];
  let isWrong = false;
  try {
    for (const finding of (await Promise.all(parts.map((part) => bounded(part, ending)))).flat()) {
      isWrong ||= finding.status === 'fail';
      stdout.write(json ? `${JSON.stringify(finding)}\n` : `${findingLine(finding)}\n`);
    }
    signal.throwIfAborted();
  } finally {
    // Not awaited for long: a hung file system answers no close.
    await Promise.race([driver.close(), new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
  }
  return isWrong;
}

/** The findings, or that there was no answer in time. */
async function bounded({ what, findings }: Part, ending: AbortSignal): Promise<readonly Finding[]> {
  const { promise: late, resolve } = Promise.withResolvers<readonly Finding[]>();
  const onAbort = () =>
    resolve([
      fail(
        what,
        `no answer within ${patienceMs / 1000} s`,
        'See what hangs: a mount, a name lookup, a host.',
      ),
    ]);
  if (ending.aborted) onAbort();
  ending.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([findings, late]);
  } finally {
    ending.removeEventListener('abort', onAbort);
  }
}

async function opened(config: Config): Promise<StorageDriver> {
  try {
    parseCacheUrl(config.cache);
    return await openStorage(config.storage, { timeoutMs: config['storage-timeout'] });
  } catch (error) {
    if (!(error instanceof CacheUrlError || error instanceof StorageUrlError)) throw error;
    const option = error instanceof CacheUrlError ? 'cache' : 'storage';
    throw new ConfigError(`--${option}: ${error.message}`, { cause: error });
  }
}
