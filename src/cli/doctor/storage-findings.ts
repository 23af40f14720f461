/** Whether the storage is there, may be listed and may be read. */
import { blobsPath } from '../../reference/layout.js';
import { describeStorage } from '../../storage/open.js';
import {
  ListUnsupportedError,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../../storage/storage-driver.js';
import { causeOf } from '../../telemetry/error-text.js';
import type { Config } from '../options.js';
import { type Finding, fail, ok, warn } from './finding.js';

/** Milliseconds from which a round trip to the storage is told as slow. */
const slowMs = 500;

/** What to do about what a check says, by its words. */
const advice: readonly [RegExp, string][] = [
  [
    /does not hold \/|holds no key/,
    "Make --storage the registry's rootdirectory, or mount its volume; ?new=true is for a registry without a push yet",
  ],
  [/of also= does not/, 'Mount that volume'],
  [/does not exist/, 'Correct --storage, or mount or make what it names'],
  [/EACCES|EPERM/, 'Let the account of the server list directories and read files there'],
  [/SignatureDoesNotMatch|InvalidAccessKey/, 'Correct the credentials in the environment of the server'],
  [/denies|403/, 'Give the credentials those rights'],
  [/credentials/, 'Set the credentials in the environment of the server'],
  [/within \d+ ms|timed out|aborted/, 'See whether the mount or the network hangs'],
];

function storageAdvice(cause: string): string {
  const found = advice.find(([pattern]) => pattern.test(cause));
  return `${found?.[1] ?? 'See that the storage can be reached from this machine'}.`;
}

/** Asks the storage, which is closed by the caller. */
export async function storageFindings(
  driver: StorageDriver,
  config: Config,
  signal: AbortSignal,
): Promise<Finding[]> {
  const begun = performance.now();
  try {
    await driver.check(signal);
  } catch (error) {
    // A check says all in its own words.
    const cause = error instanceof StorageError ? error.message : causeOf(error);
    return [fail('storage', cause, storageAdvice(cause))];
  }
  const ms = Math.round(performance.now() - begun);
  const where = `${describeStorage(config.storage)} is there and holds a registry (${ms} ms)`;
  const there =
    ms < slowMs
      ? ok('storage', where)
      : warn('storage', where, 'Each miss asks it at least once: see what makes it slow.');
  return [there, await readFinding(driver, signal)];
}

/** Reads a byte of the first blob that a listing shows. */
async function readFinding(driver: StorageDriver, signal: AbortSignal): Promise<Finding> {
  let path = blobsPath;
  try {
    // Algorithm, first digits, hash.
    for (let depth = 0; depth < 3; depth++) {
      const name = await firstName(driver, path, signal);
      if (name === undefined) return ok('storage: read', 'there is no blob yet to be read');
      path = `${path}/${name}`;
    }
  } catch (error) {
    if (error instanceof PathNotFoundError) return ok('storage: read', 'there is no blob yet to be read');
    if (error instanceof ListUnsupportedError)
      return warn(
        'storage: list',
        causeOf(error),
        'It serves layers; warm and audit need a driver that lists.',
      );
    return warn(
      'storage: list',
      `${path} cannot be listed: ${causeOf(error)}`,
      'It serves layers; warm and audit need the right to list.',
    );
  }
  try {
    const { reader } = await driver.open(`${path}/data`, { offset: 0, limit: 1 }, signal);
    try {
      await reader.read(new Uint8Array(1));
    } finally {
      await reader.close();
    }
    return ok('storage: read', 'blobs can be listed and read');
  } catch (error) {
    // A garbage collection may have taken it meanwhile.
    if (error instanceof PathNotFoundError) return ok('storage: read', 'blobs can be listed');
    const cause = causeOf(error);
    return fail('storage: read', `${path}/data cannot be read: ${cause}`, storageAdvice(cause));
  }
}

async function firstName(
  driver: StorageDriver,
  path: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  for await (const [first] of driver.list(path, signal)) if (first !== undefined) return first;
  return undefined;
}
