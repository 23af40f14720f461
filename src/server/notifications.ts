/** The endpoint for a registry's notifications, by the options; its code is loaded only when it is asked for. */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { OptionFiles } from '../cli/option-files.js';
import { type Config, ConfigError } from '../cli/options.js';
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
  const files = await OptionFiles.open(config, ['notifications-token-file'], log);
  let token = tokenIn(files);
  files.follow(() => {
    token = tokenIn(files);
  });
  const server = new NotificationServer({
    handler: new EventHandler(info, new ManifestReader(driver)),
    observer,
    token: () => token,
    // Both a lookup and the write that follows may take their time.
    timeoutMs: 2 * config['storage-timeout'] + config['cache-timeout'],
  });
  return {
    listen: (host, port) => server.listen(host, port),
    take: (socket) => server.take(socket),
    close: async () => {
      files.close();
      await server.close();
    },
  };
}

/** Throws a `ConfigError`; when the file has changed to such, the token of before stays in use. */
function tokenIn(files: OptionFiles): string | undefined {
  const text = files.of('notifications-token-file')?.toString().trim();
  if (text === undefined || /^\S+$/.test(text)) return text;
  throw new ConfigError('--notifications-token-file: a token is one word, and the file holds something else');
}
