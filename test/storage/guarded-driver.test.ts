import { describe, expect, it } from 'vitest';
import { GuardedDriver } from '../../src/storage/guarded-driver.js';
import {
  BlobChangedError,
  type BlobReader,
  InvalidPathError,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../../src/storage/storage-driver.js';

const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };
const long = 60_000;

/** A driver that does what the test says: everything it does not say hangs for ever. */
function driverOf(parts: Partial<StorageDriver>): StorageDriver {
  const hang = (): Promise<never> => new Promise(() => {});
  return {
    name: 'odd',
    remote: false,
    open: hang,
    stat: hang,
    readSmall: hang,
    check: hang,
    redirectUrl: hang,
    list: () => ({ [Symbol.asyncIterator]: () => ({ next: hang }) }),
    close: hang,
    ...parts,
  };
}

function readerOf(parts: Partial<BlobReader>): BlobReader {
  const hang = (): Promise<never> => new Promise(() => {});
  return { read: hang, unchanged: hang, close: async () => {}, ...parts };
}

function opening(reader: BlobReader): Partial<StorageDriver> {
  return { open: async () => ({ size: 10, version: 'v', reader }) };
}

const operations: ReadonlyArray<[string, (driver: StorageDriver, signal: AbortSignal) => Promise<unknown>]> =
  [
    ['open', (driver, signal) => driver.open('/a', whole, signal)],
    ['stat', (driver, signal) => driver.stat('/a', signal)],
    ['readSmall', (driver, signal) => driver.readSmall('/a', signal)],
    ['check', (driver, signal) => driver.check(signal)],
    ['redirectUrl', (driver, signal) => driver.redirectUrl('/a', signal)],
    ['list', (driver, signal) => first(driver.list('/a', signal))],
  ];

async function first(pages: AsyncIterable<readonly string[]>): Promise<readonly string[] | undefined> {
  for await (const page of pages) return page;
  return undefined;
}

describe('rule 16: a driver that hangs', () => {
  it.each(operations)('rule 16: %s fails in its time', async (_, ask) => {
    await expect(ask(new GuardedDriver(driverOf({}), 20), live)).rejects.toEqual(
      new StorageError('the storage did not answer within 20 ms'),
    );
  });

  it.each(operations)(
    'rule 16: %s ends at once when aborted, though the driver does not listen',
    async (_, ask) => {
      const caller = new AbortController();
      const asked = ask(new GuardedDriver(driverOf({}), long), caller.signal);
      const reason = new Error('left');
      caller.abort(reason);
      await expect(asked).rejects.toBe(reason);
    },
  );

  it('rule 16: the signal of the driver aborts at the deadline, with the reason', async () => {
    const told = Promise.withResolvers<unknown>();
    const inner = driverOf({
      stat: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            told.resolve(signal.reason);
            reject(signal.reason);
          });
        }),
    });
    await expect(new GuardedDriver(inner, 20).stat('/a', live)).rejects.toThrow(/did not answer/);
    expect(await told.promise).toBeInstanceOf(StorageError);
  });

  it('rule 16: close fails in its time', async () => {
    await expect(new GuardedDriver(driverOf({}), 20).close()).rejects.toBeInstanceOf(StorageError);
  });

  it.each(['read', 'unchanged'] as const)(
    'rule 16: %s of a reader fails in its time, and so does what follows',
    async (method) => {
      const closed = Promise.withResolvers<void>();
      const answer = Promise.withResolvers<never>();
      const reader = readerOf({ [method]: () => answer.promise, close: async () => closed.resolve() });
      const blob = await new GuardedDriver(driverOf(opening(reader)), 20).open('/a', whole, live);
      const ask = (): Promise<unknown> =>
        method === 'read' ? blob.reader.read(new Uint8Array(1)) : blob.reader.unchanged();
      await expect(ask()).rejects.toThrow(/did not answer/);
      await expect(ask()).rejects.toThrow(/did not answer/);
      // The caller does not wait for a driver that hangs; the driver's reader is
      // closed once its call has ended, even badly.
      let isLetGo = false;
      const closing = blob.reader.close().then(() => {
        isLetGo = true;
      });
      for (let tick = 0; tick < 10; tick += 1) await Promise.resolve();
      expect(isLetGo).toBe(true);
      await closing;
      let isClosed = false;
      closed.promise.then(() => {
        isClosed = true;
      });
      await new Promise(setImmediate);
      expect(isClosed).toBe(false);
      answer.reject(new Error('at last'));
      await closed.promise;
    },
  );

  it('rule 16: a reader that never closes holds its caller no longer than its time', async () => {
    const reader = readerOf({ close: () => new Promise(() => {}) });
    const blob = await new GuardedDriver(driverOf(opening(reader)), 20).open('/a', whole, live);
    await blob.reader.close();
  });

  it('rule 16: with a thousand abandoned operations new ones are refused until some have ended', async () => {
    const answers: Array<() => void> = [];
    let asked = 0;
    const inner = driverOf({
      stat: () => {
        asked += 1;
        return new Promise((resolve) => answers.push(() => resolve({ size: 1, version: 'v' })));
      },
    });
    const driver = new GuardedDriver(inner, long);
    const caller = new AbortController();
    const left = Promise.allSettled(Array.from({ length: 1000 }, () => driver.stat('/a', caller.signal)));
    await new Promise(setImmediate);
    caller.abort(new Error('left'));
    await left;
    await expect(driver.stat('/a', live)).rejects.toThrow(/answers nothing/);
    expect(asked).toBe(1000);
    answers[0]?.();
    await new Promise(setImmediate);
    const again = driver.stat('/a', live);
    await new Promise(setImmediate);
    answers[1000]?.();
    expect(await again).toEqual({ size: 1, version: 'v' });
  });
});

describe('a result that comes too late', () => {
  it('an open is closed', async () => {
    const answer = Promise.withResolvers<Awaited<ReturnType<StorageDriver['open']>>>();
    const closed = Promise.withResolvers<void>();
    const driver = new GuardedDriver(driverOf({ open: () => answer.promise }), 20);
    await expect(driver.open('/a', whole, live)).rejects.toThrow(/did not answer/);
    answer.resolve({ size: 1, version: 'v', reader: readerOf({ close: async () => closed.resolve() }) });
    await closed.promise;
  });

  it('an open that cannot be closed, and an error, are ignored', async () => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', listener);
    const late = Promise.withResolvers<Awaited<ReturnType<StorageDriver['open']>>>();
    const failing = Promise.withResolvers<never>();
    const driver = new GuardedDriver(driverOf({ open: () => late.promise, stat: () => failing.promise }), 20);
    await Promise.allSettled([driver.open('/a', whole, live), driver.stat('/a', live)]);
    late.resolve({
      size: 1,
      version: 'v',
      reader: readerOf({ close: () => Promise.reject(new Error('no')) }),
    });
    failing.reject(new Error('late'));
    for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
    process.off('unhandledRejection', listener);
    expect(unhandled).toEqual([]);
  });
});

describe('errors', () => {
  const named = (name: string): Error => Object.assign(new Error('theirs'), { name });

  it.each([
    new StorageError('ours'),
    new PathNotFoundError('/a'),
    new BlobChangedError('ours'),
    new InvalidPathError('ours'),
  ])('the contract’s own pass: %s', async (error) => {
    const driver = new GuardedDriver(driverOf({ stat: () => Promise.reject(error) }), long);
    await expect(driver.stat('/a', live)).rejects.toBe(error);
  });

  it.each([
    ['PathNotFoundError', PathNotFoundError],
    ['BlobChangedError', BlobChangedError],
    ['InvalidPathError', InvalidPathError],
    ['StorageError', StorageError],
    ['TypeError', StorageError],
    ['RangeError', StorageError],
    ['AbortError', StorageError],
  ])('the %s of a driver without our classes is known by its name', async (name, type) => {
    const driver = new GuardedDriver(driverOf({ stat: () => Promise.reject(named(name)) }), long);
    await expect(driver.stat('/a', live)).rejects.toBeInstanceOf(type);
  });

  it('a thrown value that is no error, or a synchronous throw, is a StorageError with its cause', async () => {
    const odd = new GuardedDriver(driverOf({ stat: () => Promise.reject('words') }), long);
    await expect(odd.stat('/a', live)).rejects.toMatchObject({ name: 'StorageError', cause: 'words' });
    const cause = new TypeError('at once');
    const sudden = new GuardedDriver(
      driverOf({
        stat: () => {
          throw cause;
        },
      }),
      long,
    );
    await expect(sudden.stat('/a', live)).rejects.toMatchObject({ name: 'StorageError', cause });
  });

  it('a reader’s error is typed too', async () => {
    const reader = readerOf({ read: () => Promise.reject(named('BlobChangedError')) });
    const blob = await new GuardedDriver(driverOf(opening(reader)), long).open('/a', whole, live);
    await expect(blob.reader.read(new Uint8Array(1))).rejects.toBeInstanceOf(BlobChangedError);
    await blob.reader.close();
  });
});

describe('answers that break the contract are failures', () => {
  it.each([Number.NaN, -1, 1.5, '12', 2 ** 53])('a size of %s', async (size) => {
    let isClosed = false;
    const reader = readerOf({
      close: async () => {
        isClosed = true;
      },
    });
    const stat = { size: size as number, version: 'v' };
    const driver = new GuardedDriver(
      driverOf({ open: async () => ({ ...stat, reader }), stat: async () => stat }),
      long,
    );
    await expect(driver.open('/a', whole, live)).rejects.toBeInstanceOf(StorageError);
    await expect(driver.stat('/a', live)).rejects.toBeInstanceOf(StorageError);
    expect(isClosed).toBe(true);
  });

  it.each([-1, 3, 0.5, Number.NaN])('%s bytes read into two', async (count) => {
    const reader = readerOf({ read: async () => count });
    const blob = await new GuardedDriver(driverOf(opening(reader)), long).open('/a', whole, live);
    await expect(blob.reader.read(new Uint8Array(2))).rejects.toBeInstanceOf(StorageError);
    await blob.reader.close();
  });

  it('a link of 4097 bytes, or of none that are bytes', async () => {
    for (const content of [new Uint8Array(4097), 'text'])
      await expect(
        new GuardedDriver(driverOf({ readSmall: async () => content as Uint8Array }), long).readSmall(
          '/a',
          live,
        ),
      ).rejects.toBeInstanceOf(StorageError);
  });

  it.each([
    1,
    '',
    '/docker/x',
    'ftp://host/x',
    'https://host/with space',
    'https://host/ä',
    `https://host/${'x'.repeat(16 << 10)}`,
  ])('a redirect to %j', async (url) => {
    const driver = new GuardedDriver(driverOf({ redirectUrl: async () => url as string }), long);
    await expect(driver.redirectUrl('/a', live)).rejects.toBeInstanceOf(StorageError);
  });

  it('a path or a range that breaks it never reaches the driver', async () => {
    const driver = new GuardedDriver(driverOf({}), long);
    await expect(driver.stat('/../a', live)).rejects.toBeInstanceOf(InvalidPathError);
    await expect(driver.redirectUrl('a', live)).rejects.toBeInstanceOf(InvalidPathError);
    await expect(driver.open('/a', { offset: -1, limit: 0 }, live)).rejects.toBeInstanceOf(RangeError);
  });
});

describe('closing', () => {
  it('fails what is under way, and closes the driver once', async () => {
    let closes = 0;
    const driver = new GuardedDriver(
      driverOf({
        close: async () => {
          closes += 1;
        },
      }),
      long,
    );
    const asked = Promise.allSettled(operations.map(([, ask]) => ask(driver, live)));
    await Promise.all([driver.close(), driver.close()]);
    for (const end of await asked)
      expect(end).toMatchObject({ status: 'rejected', reason: { name: 'StorageError' } });
    expect(closes).toBe(1);
  });

  it('leaves no timer that would keep the process alive', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    const driver = new GuardedDriver(
      driverOf({ stat: async () => ({ size: 1, version: 'v' }), close: async () => {} }),
      long,
    );
    const hung = driver.check(live);
    const ended = hung.catch((error: unknown) => error);
    expect(timers()).toBe(before + 1);
    await driver.stat('/a', live);
    await driver.close();
    expect(await ended).toBeInstanceOf(StorageError);
    expect(timers()).toBe(before);
  });
});

describe('a listing', () => {
  it('of a driver that cannot list is an error that says so', async () => {
    const { list: _, ...serving } = driverOf({});
    await expect(first(new GuardedDriver(serving, long).list('/a', live))).rejects.toThrow(
      'the storage driver odd has no list, so what it holds cannot be walked',
    );
  });

  it.each<[string, () => AsyncIterable<readonly string[]>]>([
    [
      'fails before it begins',
      () => {
        throw new Error('odd');
      },
    ],
    ['gives no iterable', () => undefined as never],
    [
      'fails at a page',
      async function* () {
        yield* [];
        throw new Error('odd');
      },
    ],
    [
      'gives what is no name',
      async function* () {
        yield [5] as never;
      },
    ],
  ])('that %s is a StorageError', async (_, list) => {
    const driver = new GuardedDriver(driverOf({ list }), long);
    await expect(first(driver.list('/a', live))).rejects.toBeInstanceOf(StorageError);
  });

  it('leaves out what could be no component of a path', async () => {
    const driver = new GuardedDriver(
      driverOf({
        list: async function* () {
          yield ['..', 'a/b', '', 'a b', '.', 'good'];
        },
      }),
      long,
    );
    expect(await first(driver.list('/a', live))).toEqual(['good']);
  });

  it('rule 16: that hangs after its first name fails at its deadline, and the driver’s signal is aborted', async () => {
    let told: AbortSignal | undefined;
    const driver = new GuardedDriver(
      driverOf({
        list: (_, signal) => {
          told = signal;
          let isFirst = true;
          const next = (): Promise<IteratorResult<readonly string[]>> => {
            if (!isFirst) return new Promise(() => {});
            isFirst = false;
            return Promise.resolve({ value: ['one'], done: false });
          };
          return { [Symbol.asyncIterator]: () => ({ next }) };
        },
      }),
      20,
    );
    const names: string[] = [];
    const reading = (async () => {
      for await (const page of driver.list('/a', live)) names.push(...page);
    })();
    await expect(reading).rejects.toEqual(new StorageError('the storage did not answer within 20 ms'));
    expect(names).toEqual(['one']);
    expect(told?.aborted).toBe(true);
  });

  it('that is left ends in the driver, which may fail at it', async () => {
    let ended = false;
    const driver = new GuardedDriver(
      driverOf({
        list: async function* () {
          try {
            yield* [['one'], ['two']];
          } finally {
            ended = true;
            // biome-ignore lint/correctness/noUnsafeFinally: a driver that fails while it is left is what is tested
            throw new Error('odd');
          }
        },
      }),
      long,
    );
    expect(await first(driver.list('/a', live))).toEqual(['one']);
    expect(ended).toBe(true);
  });
});
