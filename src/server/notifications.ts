/** The endpoint for a registry's notifications, by the options; its code is loaded only when it is asked for. */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Config } from '../cli/options.js';
import { openTokenFile } from '../cli/token-file.js';
import type { LayerInfoService } from '../layer/layer-info-service.js';
import type { NotificationObserver } from '../notifications/notification-observer.js';
import type { StorageDriver } from '../storage/storage-driver.js';

/** The endpoint, until it is closed. */
export interface Notifications {
  /** Listens; gives the port that was bound. */
  listen(host: string, port: number): Promise<number>;
  /** Serves a connection that another process accepted. */
  take(socket: Socket): void;
  close(): Promise<void>;
}

export interface NotificationsContext {
  readonly info: LayerInfoService;
  readonly driver: StorageDriver;
  readonly observer: NotificationObserver;
  readonly log: Logger;
}

/** `undefined` where the options ask for none. Rejects with a `ConfigError` for a token that cannot be used. */
export async function openNotifications(
  config: Config,
  { info, driver, observer, log }: NotificationsContext,
): Promise<Notifications | undefined> {
  if (config.notifications === undefined) return undefined;
  const [{ EventHandler }, { ManifestReader }, { NotificationServer }] = await Promise.all([
    import('../notifications/event-handler.js'),
    import('../notifications/manifest-reader.js'),
    import('../notifications/notification-server.js'),
  ]);
  const file = await openTokenFile(config, 'notifications-token-file', log);
  const server = new NotificationServer({
    handler: new EventHandler(info, new ManifestReader(driver)),
    observer,
    token: () => file.token(),
    // Both a lookup and the write that follows may take their time.
    timeoutMs: 2 * config['storage-timeout'] + config['cache-timeout'],
  });
  return {
    listen: (host, port) => server.listen(host, port),
    take: (socket) => server.take(socket),
    close: async () => {
      file.close();
      await server.close();
    },
  };
}
