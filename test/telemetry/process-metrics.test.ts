import { expect, it } from 'vitest';
import { processMetricNames } from '../../src/telemetry/process-metrics.js';

it('copies the names of the semantic conventions exactly', async () => {
  const incubating: Record<string, unknown> = {
    ...(await import('@opentelemetry/semantic-conventions/incubating')),
  };
  const original = Object.fromEntries(Object.keys(processMetricNames).map((key) => [key, incubating[key]]));
  expect(processMetricNames).toEqual(original);
});
