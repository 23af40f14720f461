/** Who may ask for a profile or a heap snapshot at the admin port, by the options. */
import type { Logger } from 'pino';
import type { DebugSource } from '../admin/debug-requests.js';
import { OptionFiles } from '../cli/option-files.js';
import { type Config, ConfigError } from '../cli/options.js';

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
  const files = await OptionFiles.open(config, ['admin-token-file'], log);
  let token = tokenIn(files);
  files.follow(() => {
    token = tokenIn(files);
  });
  return {
    isAllowed: (authorization) => bearsToken(authorization, token),
    diagnose,
    close: () => files.close(),
  };
}

/** Throws a `ConfigError`; when the file has changed to such, the token of before stays in use. */
function tokenIn(files: OptionFiles): string {
  const text = files.of('admin-token-file')?.toString().trim() ?? '';
  if (/^\S+$/.test(text)) return text;
  throw new ConfigError('--admin-token-file: a token is one word, and the file holds something else');
}
