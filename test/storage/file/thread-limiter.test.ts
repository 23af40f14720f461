import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileDriver } from '../../../src/storage/file/file-driver.js';
import { maxThreads, ThreadLimiter } from '../../../src/storage/file/thread-limiter.js';
import { StorageError } from '../../../src/storage/storage-driver.js';
import { HookedFileSystem } from '../../parts/hooked-file-system.js';
import { openDescriptors } from '../../parts/open-descriptors.js';
import { TemporaryTree } from '../../parts/temporary-tree.js';

const live = new AbortController().signal;
const long = 60_000;

/** Work that ends when the test says so. */
function held<T>(): { work: () => Promise<T>; end: (value: T) => void; begun: () => number } {
  const { promise, resolve } = Promise.withResolvers<T>();
  let count = 0;
  return {
    work: () => {
      count += 1;
      return promise;
    },
    end: resolve,
    begun: () => count,
  };
}

/** Turns of the event loop, for what settles by itself. */
async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
}

describe('ThreadLimiter', () => {
  it('rule 16: runs twelve at once, and the others in the order in which they came', async () => {
    const limiter = new ThreadLimiter(long);
    const first = Array.from({ length: maxThreads }, () => held<void>());
    const running = first.map(({ work }) => limiter.run(work, live, undefined));
    const order: number[] = [];
    const waiting = [1, 2, 3].map((number) =>
      limiter.run(async () => void order.push(number), live, undefined),
    );
    await turns();
    expect(first.map(({ begun }) => begun())).toEqual(Array(12).fill(1));
    expect(order).toEqual([]);
    first[5]?.end();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    for (const { end } of first) end();
    await Promise.all(running);
  });

  it('rule 16: the wait for a thread counts, and a cancelled operation never starts', async () => {
    const limiter = new ThreadLimiter(30);
    const hung = Array.from({ length: maxThreads }, () => held<void>());
    const running = Promise.allSettled(hung.map(({ work }) => limiter.run(work, live, undefined)));
    const late = held<void>();
    await expect(limiter.run(late.work, live, undefined)).rejects.toThrow(/did not answer within 30 ms/);
    for (const { end } of hung) end();
    await running;
    await turns();
    expect(late.begun()).toBe(0);
  });

  it('rule 16: while all twelve are past their deadline new operations fail at once, and not after one ended', async () => {
    const limiter = new ThreadLimiter(30);
    const hung = Array.from({ length: maxThreads }, () => held<void>());
    const ends = await Promise.allSettled(hung.map(({ work }) => limiter.run(work, live, undefined)));
    for (const end of ends)
      expect(end).toMatchObject({ status: 'rejected', reason: { name: 'StorageError' } });
    const refused = held<void>();
    let isSettled = false;
    limiter.run(refused.work, live, undefined).catch((error: unknown) => {
      expect(error).toBeInstanceOf(StorageError);
      isSettled = true;
    });
    // Microtasks alone: no timer has anything to do with it.
    for (let tick = 0; tick < 5; tick += 1) await Promise.resolve();
    expect(isSettled).toBe(true);
    expect(refused.begun()).toBe(0);
    hung[11]?.end();
    await turns();
    expect(await limiter.run(async () => 'again', live, undefined)).toBe('again');
    for (const { end } of hung) end();
  });

  it('rule 16: an operation that hangs keeps its slot until it has ended', async () => {
    const limiter = new ThreadLimiter(long);
    const caller = new AbortController();
    const hung = Array.from({ length: maxThreads }, () => held<void>());
    const left = Promise.allSettled(hung.map(({ work }) => limiter.run(work, caller.signal, undefined)));
    caller.abort(new Error('left'));
    await left;
    const next = held<string>();
    const waiting = limiter.run(next.work, live, undefined);
    await turns();
    expect(next.begun()).toBe(0);
    hung[0]?.end();
    next.end('at last');
    expect(await waiting).toBe('at last');
    for (const { end } of hung) end();
  });

  it('an abort rejects with the reason, running or waiting, and a late value is discarded', async () => {
    const limiter = new ThreadLimiter(long);
    const caller = new AbortController();
    const late = held<string>();
    const discarded: string[] = [];
    const running = limiter.run(late.work, caller.signal, async (value) => void discarded.push(value));
    const others = Array.from({ length: maxThreads - 1 }, () => held<void>());
    const rest = others.map(({ work }) => limiter.run(work, live, undefined));
    const never = held<void>();
    const waiting = limiter.run(never.work, caller.signal, undefined);
    const reason = new Error('left');
    const ends = Promise.allSettled([running, waiting]);
    caller.abort(reason);
    expect(await ends).toEqual([
      { status: 'rejected', reason },
      { status: 'rejected', reason },
    ]);
    late.end('late');
    await turns();
    expect(discarded).toEqual(['late']);
    expect(never.begun()).toBe(0);
    for (const { end } of others) end();
    await Promise.all(rest);
  });

  it('releases also when every slot hangs, as soon as one is free', async () => {
    const limiter = new ThreadLimiter(20);
    const hung = Array.from({ length: maxThreads }, () => held<void>());
    await Promise.allSettled(hung.map(({ work }) => limiter.run(work, live, undefined)));
    let isReleased = false;
    const released = limiter.release(async () => {
      isReleased = true;
    });
    await turns();
    expect(isReleased).toBe(false);
    hung[3]?.end();
    await released;
    expect(isReleased).toBe(true);
    for (const { end } of hung) end();
  });

  it('closed, fails what runs, what is queued and what is new, and still releases', async () => {
    const limiter = new ThreadLimiter(long);
    const hung = Array.from({ length: maxThreads }, () => held<void>());
    const never = held<void>();
    const asked = Promise.allSettled([...hung, never].map(({ work }) => limiter.run(work, live, undefined)));
    limiter.close();
    for (const end of await asked)
      expect(end).toMatchObject({ status: 'rejected', reason: { name: 'StorageError' } });
    await expect(limiter.run(async () => 1, live, undefined)).rejects.toBeInstanceOf(StorageError);
    for (const { end } of hung) end();
    await limiter.release(async () => {});
    expect(never.begun()).toBe(0);
  });
});

describe('FileDriver on a disk that hangs', () => {
  const path = '/docker/registry/v2/blobs/data';
  let tree: TemporaryTree;
  let files: HookedFileSystem;

  beforeEach(async () => {
    tree = await TemporaryTree.create();
    await tree.put(path, Buffer.alloc(100_000, 1));
    files = new HookedFileSystem();
  });
  afterEach(() => tree.delete());

  function driverOf(timeoutMs: number): FileDriver {
    return new FileDriver({ root: tree.root, timeoutMs, also: [], allowEmpty: false }, files);
  }

  it('rule 16: never has more than twelve calls in the file system', async () => {
    const driver = driverOf(long);
    await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const { reader } = await driver.open(path, { offset: 0, limit: 0 }, live);
        await reader.read(new Uint8Array(1000));
        await reader.unchanged();
        await reader.close();
        await driver.stat(path, live);
        await driver.readSmall(`${path}-${index}`, live).catch(() => undefined);
      }),
    );
    expect(files.mostRunning).toBe(maxThreads);
    await driver.close();
  });

  it.each(['open', 'fstat', 'stat', 'realPathOf'] as const)(
    'rule 16: twelve threads hang in %s, then UNAVAILABLE at once, then all works again without a descriptor left',
    async (call) => {
      const driver = driverOf(40);
      const disk = Promise.withResolvers<void>();
      files.before = (now) => (now === call ? disk.promise : undefined);
      const ask = (): Promise<unknown> =>
        call === 'stat' ? driver.stat(path, live) : driver.open(path, { offset: 0, limit: 0 }, live);
      for (const end of await Promise.allSettled(Array.from({ length: 20 }, ask)))
        expect(end).toMatchObject({ status: 'rejected', reason: { name: 'StorageError' } });
      const before = files.calls.length;
      await expect(ask()).rejects.toThrow(/every thread hangs/);
      expect(files.calls.length).toBe(before);
      files.before = () => {};
      disk.resolve();
      await expect.poll(() => files.running).toBe(0);
      expect(await openDescriptors(tree.root)).toEqual([]);
      expect((await driver.stat(path, live)).size).toBe(100_000);
      await driver.close();
    },
  );

  it('rule 16: a read that hangs fails in its time; its descriptor is closed when it really ends', async () => {
    const driver = driverOf(40);
    const { reader } = await driver.open(path, { offset: 0, limit: 0 }, live);
    const disk = Promise.withResolvers<void>();
    files.before = (now) => (now === 'read' ? disk.promise : undefined);
    await expect(reader.read(new Uint8Array(10))).rejects.toThrow(/did not answer within/);
    await expect(reader.read(new Uint8Array(10))).rejects.toThrow(/still under way/);
    // Microtasks alone: who waited for the read does not wait for its thread as well.
    let isLetGo = false;
    const closing = reader.close().then(() => {
      isLetGo = true;
    });
    for (let tick = 0; tick < 10; tick += 1) await Promise.resolve();
    expect(isLetGo).toBe(true);
    await closing;
    expect(files.calls).not.toContain('close');
    expect(await openDescriptors(tree.root)).toHaveLength(1);
    disk.resolve();
    await expect.poll(() => openDescriptors(tree.root)).toEqual([]);
    await driver.close();
  });

  it('an abort leaves a hung read at once, and the descriptor is closed behind it', async () => {
    const driver = driverOf(long);
    const caller = new AbortController();
    const { reader } = await driver.open(path, { offset: 0, limit: 0 }, caller.signal);
    const disk = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    files.before = (now) => {
      if (now !== 'read') return;
      reached.resolve();
      return disk.promise;
    };
    const reading = reader.read(new Uint8Array(10));
    await reached.promise;
    const reason = new Error('left');
    caller.abort(reason);
    await expect(reading).rejects.toBe(reason);
    const closing = reader.close();
    expect(reader.close()).toBe(closing);
    disk.resolve();
    await closing;
    expect(await openDescriptors(tree.root)).toEqual([]);
    await driver.close();
  });

  it('an open whose caller cancelled is closed when it completes', async () => {
    const driver = driverOf(long);
    const caller = new AbortController();
    const disk = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    files.before = (now) => {
      if (now !== 'fstat') return;
      reached.resolve();
      return disk.promise;
    };
    const opening = driver.open(path, { offset: 0, limit: 0 }, caller.signal);
    await reached.promise;
    caller.abort(new Error('left'));
    await expect(opening).rejects.toThrow('left');
    disk.resolve();
    await expect.poll(() => openDescriptors(tree.root)).toEqual([]);
    await driver.close();
  });
});
