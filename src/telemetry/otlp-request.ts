/**
 * Whether the environment asks for export. Nothing of the SDK is loaded for it
 * otherwise: the SDK's own default, to export to a collector on localhost, is
 * noise where none runs.
 */

/** What the standard variables ask to be exported. */
export interface ExportRequest {
  readonly traces: boolean;
  readonly metrics: boolean;
}

/** Reads the `OTEL_*` variables of that environment. */
export function exportRequest(env: NodeJS.ProcessEnv): ExportRequest {
  if (env['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true') return { traces: false, metrics: false };
  return { traces: asked(env, 'TRACES'), metrics: asked(env, 'METRICS') };
}

function asked(env: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS'): boolean {
  const exporter = env[`OTEL_${signal}_EXPORTER`]?.trim() ?? '';
  if (exporter !== '') return exporter !== 'none';
  const endpoints = [env['OTEL_EXPORTER_OTLP_ENDPOINT'], env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`]];
  return endpoints.some((endpoint) => endpoint !== undefined && endpoint.trim() !== '');
}
