import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type StorageDriver, StorageError } from '../../src/storage/storage-driver.js';
import { absenceLine, StorageWatch } from '../../src/storage/storage-watch.js';

const intervalMs = 1000;

/** A storage that is there or not, and how often it was looked at. */
class Mount {
  present = false;
  looks = 0;

  get driver(): StorageDriver {
    const refuse = () => Promise.reject(new StorageError('not asked for'));
    return {
      name: 'mount',
      remote: false,
      open: refuse,
      stat: refuse,
      readSmall: refuse,
      redirectUrl: refuse,
      list: () => {
        throw new StorageError('not asked for');
      },
      close: () => Promise.resolve(),
      check: async (signal) => {
        signal.throwIfAborted();
        this.looks += 1;
        if (!this.present) throw new StorageError('no root');
      },
    };
  }
}

let mount: Mount;
let up: boolean;
let seen: number;
let absences: unknown[];
let watch: StorageWatch;

beforeEach(() => {
  vi.useFakeTimers();
  mount = new Mount();
  up = false;
  seen = 0;
  absences = [];
  watch = new StorageWatch(mount.driver, {
    isUp: () => up,
    onSeen: () => {
      seen += 1;
      up = true;
    },
    onAbsent: (error) => absences.push(error),
    intervalMs,
  });
});
afterEach(() => {
  watch.close();
  vi.useRealTimers();
});

describe('a storage watch', () => {
  it('has checked once when it has started', async () => {
    mount.present = true;
    await watch.start();
    expect({ seen, absences, looks: mount.looks }).toEqual({ seen: 1, absences: [], looks: 1 });
  });

  it('does not probe a storage that is up', async () => {
    mount.present = true;
    await watch.start();
    await vi.advanceTimersByTimeAsync(10 * intervalMs);
    expect(mount.looks).toBe(1);
  });

  it('rule 11: probes until the storage appears, and reports its absence once', async () => {
    await watch.start();
    await vi.advanceTimersByTimeAsync(3 * intervalMs);
    expect({ seen, looks: mount.looks }).toEqual({ seen: 0, looks: 4 });
    expect(absences).toEqual([expect.any(StorageError)]);
    mount.present = true;
    await vi.advanceTimersByTimeAsync(intervalMs);
    expect(seen).toBe(1);
  });

  it('rule 11: probes until a check has succeeded, also when an operation succeeded first', async () => {
    await watch.start();
    mount.present = true;
    up = true;
    await vi.advanceTimersByTimeAsync(intervalMs);
    expect(seen).toBe(1);
    await vi.advanceTimersByTimeAsync(10 * intervalMs);
    expect(mount.looks).toBe(2);
  });

  it('probes again when an operation failed, and reports each outage once', async () => {
    mount.present = true;
    await watch.start();
    for (const outage of [1, 2]) {
      up = false;
      mount.present = false;
      await vi.advanceTimersByTimeAsync(2 * intervalMs);
      expect(absences).toHaveLength(outage);
      mount.present = true;
      await vi.advanceTimersByTimeAsync(intervalMs);
      expect(seen).toBe(1 + outage);
    }
  });

  it('stops when it is closed, and reports nothing of a running check', async () => {
    const starting = watch.start();
    watch.close();
    await starting;
    await vi.advanceTimersByTimeAsync(10 * intervalMs);
    expect({ seen, absences, looks: mount.looks }).toEqual({ seen: 0, absences: [], looks: 1 });
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the line about a storage that is not there', () => {
  it.each([
    [
      new StorageError('the bucket layers does not exist'),
      'the bucket layers does not exist; not ready until it does',
    ],
    [new StorageError('opening failed: EACCES'), 'opening failed: EACCES; not ready until that is mended'],
    [new Error('first\nsecond'), 'first; not ready until that is mended'],
    ['no error at all', 'no error at all; not ready until that is mended'],
  ])('%s', (error, line) => {
    expect(absenceLine(error, false)).toBe(`storage: ${line}`);
    expect(absenceLine(error, true)).toBe(`storage: ${line.split(';', 1)[0]}`);
  });
});
