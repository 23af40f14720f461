/** The server as one process, listening on its own addresses. */

import { statusFamilies } from '../admin/traffic.js';
import { describeConfig } from '../cli/described-config.js';
import type { Config } from '../cli/options.js';
import { withCause, withoutStack } from '../telemetry/error-text.js';
import { type App, openApp, type ProcessContext } from './app.js';
import { openDebugSource } from './debug-source.js';
import { bound, boundNotifications, logStart, openAdminListener } from './listening.js';

/** A server that is up. */
export interface Server {
  /** Where gRPC is served, with the port that was bound. */
  readonly listen: string;
  /** Where HTTP is served, with the port that was bound; `undefined` when it is off. */
  readonly admin: string | undefined;
  /** Writes a CPU profile of this process into the folder that the options name, and logs where. Never rejects. */
  profile(): Promise<void>;
  /** Accepts no new work, lets calls finish within the drain timeout, closes everything. Never rejects. */
  drain(): Promise<void>;
  /** Ends every call now. Never rejects. */
  cut(): Promise<void>;
}

/**
 * Starts the server. It is up, and not ready until the storage was seen. Throws
 * what `openApp` throws, and `StartError` for an address that cannot be
 * listened on; then nothing is left open.
 */
export async function startServer(config: Config, context: ProcessContext): Promise<Server> {
  const app = await openApp(config, context);
  try {
    return await opened(app, config, context);
  } catch (error) {
    await app.close();
    throw error;
  }
}

async function opened(app: App, config: Config, { log, version }: ProcessContext): Promise<Server> {
  const { telemetry, readiness, described } = app;
  const listen = await bound(config.listen, app.listen());
  const notifications = await boundNotifications(config, app);
  const debug = await openDebugSource(config, log, async (diagnosis) => [await app.diagnose(diagnosis)]);
  app.onShutdown('debug', () => debug?.close());
  const admin = await openAdminListener(config, {
    debug,
    readiness,
    metricsText: telemetry.metricsText,
    debugVars: telemetry.debugVars,
    status: {
      ...{ version, described },
      settings: describeConfig(config, described),
      numbers: () => telemetry.report(statusFamilies),
      errors: () => telemetry.errors.list(),
      workers: () => [],
    },
    failed: (error) => log.error({ err: withoutStack(error) }, withCause('an admin request failed', error)),
  });
  app.onShutdown('admin', admin.close);
  logStart(config, log, version, { listen, admin: admin.address, notifications, ...described });
  app.watch();
  const profile = async () => {
    await app.diagnose();
  };
  return { listen, admin: admin.address, profile, drain: app.drain, cut: app.cut };
}
