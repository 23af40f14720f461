/** The files of the server's TLS key pair. */
import type { Logger } from 'pino';
import { OptionFiles } from '../cli/option-files.js';
import type { Config } from '../cli/options.js';
import type { TlsKeyPair } from '../grpc/tls-handshakes.js';
import type { RpcServer } from '../rpc/server.js';

/** The server's certificate and key, and the authorities of its clients, renewed when the files change. */
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

  get identity(): TlsKeyPair {
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
