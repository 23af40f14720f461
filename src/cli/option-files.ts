import type { Logger } from 'pino';
import { withCause, withoutStack } from '../telemetry/error-text.js';
import { type Config, ConfigError, type OptionName } from './options.js';
import { FileUnreadableError, WatchedFiles } from './watched-files.js';

/** Files that options name and that are used together. */
export class OptionFiles {
  readonly #names: readonly OptionName[];
  readonly #files: WatchedFiles;
  readonly #log: Logger;

  private constructor(names: readonly OptionName[], files: WatchedFiles, log: Logger) {
    this.#names = names;
    this.#files = files;
    this.#log = log;
  }

  /** Reads the files of those options that name one. Rejects with a `ConfigError`. */
  static async open(config: Config, names: readonly FileOption[], log: Logger): Promise<OptionFiles> {
    const named = names.filter((name) => config[name] !== undefined);
    const paths = named.flatMap((name) => config[name] ?? []);
    try {
      return new OptionFiles(named, await WatchedFiles.open(paths), log);
    } catch (error) {
      if (!(error instanceof FileUnreadableError)) throw error;
      const name = named.find((name) => config[name] === error.path) ?? named[0];
      throw new ConfigError(`--${name}: ${error.message}`, { cause: error });
    }
  }

  /** The options that name a file, as they are written. */
  get options(): readonly string[] {
    return this.#names.map((name) => `--${name}`);
  }

  /** The contents of that option's file. */
  of(name: FileOption): Buffer | undefined {
    return this.#files.contents[this.#names.indexOf(name)];
  }

  /** Calls `renew` when the files have changed; until that succeeds the old contents stay in use. */
  follow(renew: () => void): void {
    const { options } = this;
    this.#files.watch({
      changed: () => {
        renew();
        this.#log.info({ options }, 'files have changed and are used from now on');
      },
      failed: (error) =>
        this.#log.error(
          { err: withoutStack(error), options },
          withCause('files cannot be used, what was read before stays in use', error),
        ),
    });
  }

  close(): void {
    this.#files.close();
  }
}

/** The options that name a file. */
export type FileOption =
  | 'tls-cert'
  | 'tls-key'
  | 'tls-client-ca'
  | 'auth-rootcertbundle'
  | 'auth-jwks'
  | 'auth-policy'
  | 'notifications-token-file'
  | 'admin-token-file';
