/** The files of the server's TLS key pair. */
import { X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import { OptionFiles } from '../cli/option-files.js';
import type { Config } from '../cli/options.js';
import type { TlsKeyPair } from '../grpc/tls-key-pair.js';
import type { RpcServer } from '../rpc/server.js';

/** The server's certificate and key, and the authorities of its clients, renewed when the files change. */
export class TlsFiles {
  readonly #files: OptionFiles;
  #notAfter = 0;

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

  /**
   * When the first certificate of the pair in use ends, in seconds since the epoch: its own, or
   * one that leads from it to a root. 0 until `follow`.
   */
  get notAfter(): number {
    return this.#notAfter;
  }

  /** To be called once the server uses the pair. */
  follow(rpc: RpcServer): void {
    this.#notAfter = earliestEnd(this.identity.cert);
    this.#files.follow(() => {
      const { identity } = this;
      rpc.renewTls(identity);
      this.#notAfter = earliestEnd(identity.cert);
    });
  }

  close(): void {
    this.#files.close();
  }
}

const block = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function earliestEnd(pem: Buffer): number {
  const ends = Array.from(pem.toString('latin1').matchAll(block), ([text]) =>
    new X509Certificate(text).validToDate.getTime(),
  );
  return Math.min(...ends) / 1000;
}
