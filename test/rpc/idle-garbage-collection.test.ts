import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { IdleGarbageCollection } from '../../src/rpc/idle-garbage-collection.js';

const look = 500;

beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));
afterEach(() => void vi.useRealTimers());

function start(): { collection: IdleGarbageCollection; collected: () => number; loop: { busy: number } } {
  const collect = vi.fn();
  const loop = { busy: 0 };
  const collection = new IdleGarbageCollection(collect, () => loop.busy);
  return { collection, collected: () => collect.mock.calls.length, loop };
}

function streams(collection: IdleGarbageCollection, count: number): void {
  for (let i = 0; i < count; i++) collection.began();
  for (let i = 0; i < count; i++) collection.over();
}

it('collects once, when the streams have been over for a while', () => {
  const { collection, collected } = start();
  streams(collection, 40);
  vi.advanceTimersByTime(look);
  expect(collected()).toBe(0);
  vi.advanceTimersByTime(look);
  expect(collected()).toBe(1);
  vi.advanceTimersByTime(10 * look);
  expect(collected()).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
  streams(collection, 40);
  vi.advanceTimersByTime(2 * look);
  expect(collected()).toBe(2);
});

it('leaves a few streams to V8', () => {
  const { collection, collected } = start();
  streams(collection, 31);
  vi.advanceTimersByTime(10 * look);
  expect(collected()).toBe(0);
});

it('does not while a stream runs, or streams keep ending', () => {
  const { collection, collected } = start();
  streams(collection, 40);
  collection.began();
  vi.advanceTimersByTime(10 * look);
  expect(collected()).toBe(0);
  collection.over();
  for (let i = 0; i < 5; i++) {
    vi.advanceTimersByTime(look);
    streams(collection, 1);
  }
  expect(collected()).toBe(0);
  vi.advanceTimersByTime(2 * look);
  expect(collected()).toBe(1);
});

it('does not while the event loop is busy with other calls', () => {
  const { collection, collected, loop } = start();
  loop.busy = 0.5;
  streams(collection, 40);
  vi.advanceTimersByTime(10 * look);
  expect(collected()).toBe(0);
  loop.busy = 0.01;
  vi.advanceTimersByTime(look);
  expect(collected()).toBe(1);
});

it('really collects, and leaves no `gc` behind for others', () => {
  const collection = new IdleGarbageCollection(undefined, () => 0);
  let garbage: object | undefined = {};
  const seen = new WeakRef(garbage);
  garbage = undefined;
  streams(collection, 40);
  // A reference stays alive to the end of the job that made it, so the look comes in a later one.
  return new Promise<void>((resolve) => setTimeout(resolve, 0)).then(() => {
    vi.advanceTimersByTime(2 * look);
    expect(seen.deref()).toBeUndefined();
    expect(runInNewContext('typeof gc')).toBe('undefined');
  });
});
