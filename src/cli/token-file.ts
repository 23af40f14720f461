import type { Logger } from 'pino';
import { type FileOption, OptionFiles } from './option-files.js';
import { type Config, ConfigError } from './options.js';

/** The token in an option's file, which is read again when it has changed. */
export interface TokenFile {
  /** `undefined` where the option names no file. */
  token(): string | undefined;
  close(): void;
}

/** Rejects with a `ConfigError` for a file that holds no token; when it changes to such, the token of before stays in use. */
export async function openTokenFile(config: Config, name: FileOption, log: Logger): Promise<TokenFile> {
  const files = await OptionFiles.open(config, [name], log);
  const read = (): string | undefined => {
    const text = files.of(name)?.toString().trim();
    if (text === undefined || /^\S+$/.test(text)) return text;
    throw new ConfigError(`--${name}: a token is one word, and the file holds something else`);
  };
  let token = read();
  files.follow(() => {
    token = read();
  });
  return { token: () => token, close: () => files.close() };
}
