/** Who may ask for a profile or a heap snapshot at the admin port, by the options. */
import type { Logger } from 'pino';
import type { DebugSource } from '../admin/debug-requests.js';
import type { Config } from '../cli/options.js';
import { openTokenFile } from '../cli/token-file.js';

/** A source, until it is closed. */
export interface OpenDebugSource extends DebugSource {
  close(): void;
}

/** `undefined` where the options name no token. Rejects with a `ConfigError` for one that cannot be used. */
export async function openDebugSource(
  config: Config,
  log: Logger,
  diagnose: DebugSource['diagnose'],
): Promise<OpenDebugSource | undefined> {
  if (config['admin-token-file'] === undefined) return undefined;
  const { bearsToken } = await import('../notifications/bearer-token.js');
  const file = await openTokenFile(config, 'admin-token-file', log);
  return {
    isAllowed: (authorization) => {
      const token = file.token();
      return token !== undefined && bearsToken(authorization, token);
    },
    diagnose,
    close: () => file.close(),
  };
}
