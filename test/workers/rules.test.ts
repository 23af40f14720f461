/** What several workers are as one, and how soon one is replaced. */
import { expect, it } from 'vitest';
import { Readiness } from '../../src/telemetry/readiness.js';
import { combinedReadiness } from '../../src/workers/combined-readiness.js';
import { restartDelay } from '../../src/workers/restart-delay.js';

function ready() {
  const readiness = new Readiness();
  readiness.storageWasSeen();
  return readiness;
}

it('a worker is replaced at once, and later each time that the next ends soon, up to 5 s', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7, 100].map(restartDelay)).toEqual([
    0, 100, 200, 400, 800, 1600, 3200, 5000, 5000,
  ]);
});

it('ready while one is, degraded while fewer are than were asked for', () => {
  const [one, other, young] = [ready().state, ready().state, new Readiness().state];
  expect(combinedReadiness([one, other], 2, false)).toMatchObject({ ready: true, degraded: false });
  expect(combinedReadiness([one, young], 2, false)).toMatchObject({
    ready: true,
    degraded: true,
    storageUp: false,
  });
  expect(combinedReadiness([one], 2, false)).toMatchObject({ ready: true, degraded: true, storageUp: true });
  expect(combinedReadiness([young], 2, false)).toMatchObject({
    ready: false,
    degraded: false,
    storageSeen: false,
  });
  expect(combinedReadiness([], 2, false)).toMatchObject({ ready: false, storageUp: false });
  expect(combinedReadiness([one, other], 2, true)).toMatchObject({
    ready: false,
    degraded: false,
    draining: true,
  });
});

it('degraded while one cannot reach its cache', () => {
  const alone = ready();
  alone.cacheIs(false);
  expect(combinedReadiness([alone.state, ready().state], 2, false)).toMatchObject({
    ready: true,
    degraded: true,
    cacheUp: false,
    workers: { ready: 2, wanted: 2 },
  });
});
