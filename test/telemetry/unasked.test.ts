import { registerHooks } from 'node:module';
import { afterEach, expect, it, vi } from 'vitest';
import { LogLines } from '../parts/log-lines.js';
import { OtlpCollector } from '../parts/otlp-collector.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

// Alone in its file: what another test had loaded would not be seen again.
it('loads neither SDK nor exporter unless asked, and says nothing', async () => {
  const loaded: string[] = [];
  const hooks = registerHooks({
    load: (url, context, next) => {
      loaded.push(url);
      return next(url, context);
    },
  });
  const heavy = () =>
    loaded.filter((url) => /@opentelemetry\/(sdk-node|sdk-trace|exporter-(trace|metrics)-|otlp-)/.test(url));
  const collector = await OtlpCollector.start();
  try {
    const { startTelemetry } = await import('../../src/telemetry/telemetry.js');
    const { Readiness } = await import('../../src/telemetry/readiness.js');
    const { log, lines } = new LogLines();
    const options = {
      log,
      accessLog: false,
      version: '1',
      droppedLines: () => 0,
      readiness: new Readiness(),
    };
    await (await startTelemetry(options)).shutdown();
    expect(loaded.some((url) => url.includes('@opentelemetry/exporter-prometheus'))).toBe(true);
    expect(heavy()).toEqual([]);
    expect(lines).toEqual([]);

    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', collector.httpEndpoint);
    await (await startTelemetry(options)).shutdown();
    expect(heavy().some((url) => url.includes('@opentelemetry/sdk-node'))).toBe(true);
  } finally {
    hooks.deregister();
    await collector.close();
  }
});
