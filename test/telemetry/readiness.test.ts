import { expect, it } from 'vitest';
import { Readiness } from '../../src/telemetry/readiness.js';

it('is not ready until storage was first seen', () => {
  const readiness = new Readiness();
  expect(readiness.state).toMatchObject({ ready: false, degraded: false });
  readiness.storageIs(true);
  expect(readiness.state.ready).toBe(false);
  readiness.storageWasSeen();
  expect(readiness.state).toMatchObject({ ready: true, degraded: false });
});

it('a later outage of cache or storage is degraded, and still ready', () => {
  const readiness = new Readiness();
  readiness.storageWasSeen();
  readiness.storageIs(false);
  expect(readiness.state).toMatchObject({ ready: true, degraded: true, storageUp: false });
  readiness.storageIs(true);
  readiness.cacheIs(false);
  expect(readiness.state).toMatchObject({ ready: true, degraded: true, cacheUp: false });
  readiness.cacheIs(true);
  expect(readiness.state).toMatchObject({ ready: true, degraded: false });
});

it('a draining process is not ready, whatever happens', () => {
  const readiness = new Readiness();
  readiness.storageWasSeen();
  readiness.drain();
  readiness.storageWasSeen();
  expect(readiness.state).toMatchObject({ ready: false, degraded: false, draining: true });
});

it('tells its listeners of changes only, until they leave', () => {
  const readiness = new Readiness();
  const received: boolean[] = [];
  const leave = readiness.onChange(({ ready }) => received.push(ready));
  readiness.cacheIs(true);
  readiness.storageWasSeen();
  readiness.storageWasSeen();
  readiness.drain();
  readiness.drain();
  expect(received).toEqual([true, false]);
  leave();
  readiness.cacheIs(false);
  expect(received).toHaveLength(2);
});
