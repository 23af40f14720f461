/** What tells clients from strangers, opened from the options and renewed when its files change. */
import type { Logger } from 'pino';
import { type Config, ConfigError, type OptionName } from './config.js';
import type { Address } from './option-values.js';
import type { RpcServer } from './rpc/server.js';
import type { TlsIdentity } from './rpc/tls-handshakes.js';
import { FileUnreadableError, WatchedFiles } from './rpc/watched-files.js';

/** The files of options, which are used together. */
class OptionFiles {
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

  /** The contents of that option's file. */
  of(name: FileOption): Buffer | undefined {
    return this.#files.contents[this.#names.indexOf(name)];
  }

  /** Has the files used anew when they have changed; until that succeeds the old ones stay in use. */
  follow(renew: () => void): void {
    const options = this.#names.map((name) => `--${name}`);
    this.#files.watch({
      changed: () => {
        renew();
        this.#log.info({ options }, 'files have changed and are used from now on');
      },
      failed: (error) =>
        this.#log.error({ err: error, options }, 'files cannot be used; what was read before stays in use'),
    });
  }

  close(): void {
    this.#files.close();
  }
}

type FileOption = 'tls-cert' | 'tls-key' | 'tls-client-ca';

/** The server's own certificate, and whose clients it takes. */
export class TlsFiles {
  readonly #files: OptionFiles;

  private constructor(files: OptionFiles) {
    this.#files = files;
  }

  /** `undefined` when the options ask for none. Rejects with a `ConfigError`. */
  static async open(config: Config, log: Logger): Promise<TlsFiles | undefined> {
    if (config['tls-cert'] === undefined) return undefined;
    return new TlsFiles(await OptionFiles.open(config, ['tls-cert', 'tls-key', 'tls-client-ca'], log));
  }

  get identity(): TlsIdentity {
    const cert = this.#files.of('tls-cert');
    const key = this.#files.of('tls-key');
    if (cert === undefined || key === undefined) throw new TypeError('the options were checked before');
    return { cert, key, clientCa: this.#files.of('tls-client-ca') };
  }

  follow(rpc: RpcServer): void {
    this.#files.follow(() => rpc.renewTls(this.identity));
  }

  close(): void {
    this.#files.close();
  }
}

/** Says once, at the start, what everybody who can reach the server may see and do. */
export function warnOfStrangers(config: Config, log: Logger): void {
  if (config['tls-cert'] !== undefined || isLoopback(config.listen)) return;
  log.warn(
    { listen: config.listen.host },
    'gRPC is served in plain text beyond this machine: whoever is on the way reads and alters it, and anybody who reaches it may ask about every repository; --tls-cert and --tls-key encrypt it, --tls-client-ca admits only known clients',
  );
}

function isLoopback({ host }: Address): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
