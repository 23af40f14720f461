import { expect, it } from 'vitest';
import { exportRequest } from '../../src/telemetry/otlp-request.js';

const none = { traces: false, metrics: false };
const both = { traces: true, metrics: true };

for (const [env, request] of [
  [{}, none],
  [{ OTEL_SERVICE_NAME: 'x', OTEL_TRACES_SAMPLER: 'always_on' }, none],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' }, both],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: ' ' }, none],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c:4318' }, { traces: true, metrics: false }],
  [{ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://c:4318' }, { traces: false, metrics: true }],
  [{ OTEL_TRACES_EXPORTER: 'otlp' }, { traces: true, metrics: false }],
  [{ OTEL_METRICS_EXPORTER: 'console' }, { traces: false, metrics: true }],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_METRICS_EXPORTER: 'none' },
    { traces: true, metrics: false },
  ],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'TRUE' }, none],
] as const) {
  it(`${JSON.stringify(env)} asks for ${JSON.stringify(request)}`, () => {
    expect(exportRequest(env)).toEqual(request);
  });
}
