/** The server as one process: what answers, with its own doors. */

import type { Config } from '../cli/options.js';
import { type App, openApp, type Surroundings } from './app.js';
import { announce, bound, openAdminDoor } from './doors.js';

/** A server that is up. */
export interface Server {
  /** Where gRPC is served, with the port that was bound. */
  readonly listen: string;
  /** Where HTTP is served, with the port that was bound; `undefined` when it is off. */
  readonly admin: string | undefined;
  /** Takes no new work, lets what has begun finish within the drain timeout, closes everything. Never rejects. */
  drain(): Promise<void>;
  /** Ends every call now. Never rejects. */
  cut(): Promise<void>;
}

/**
 * Starts the server. It is up, and not ready until the storage was seen. Throws
 * what `openApp` throws, and `StartError` for an address that cannot be
 * listened on; then nothing is left open.
 */
export async function startServer(config: Config, surroundings: Surroundings): Promise<Server> {
  const app = await openApp(config, surroundings);
  try {
    return await opened(app, config, surroundings);
  } catch (error) {
    await app.close();
    throw error;
  }
}

async function opened(app: App, config: Config, { log, version }: Surroundings): Promise<Server> {
  const { telemetry, readiness, described } = app;
  const listen = await bound(config.listen, app.listen());
  const admin = await openAdminDoor(config, {
    readiness,
    metricsText: telemetry.metricsText,
    debugVars: telemetry.debugVars,
    failed: (error) => log.error({ err: error }, 'an admin request failed'),
  });
  app.closing('admin', admin.close);
  announce(config, log, version, { listen, admin: admin.address, ...described });
  app.watch();
  return { listen, admin: admin.address, drain: app.drain, cut: app.cut };
}
