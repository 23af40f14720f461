/** An authority of the test's own, by openssl, in a temporary directory. Whoever makes one deletes it. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';

/** A certificate and its private key, as PEM files. */
export interface IssuedCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface CertificateRequest {
  /** As openssl writes them: `DNS:localhost`, `IP:127.0.0.1`, `URI:spiffe://…`. */
  readonly names?: readonly string[];
  /** More of a certificate's extensions: `basicConstraints=critical,CA:TRUE`. */
  readonly extensions?: readonly string[];
  /** For how many days it is valid; 1 unless given. */
  readonly days?: number;
}

const run = promisify(execFile);
const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** What makes a certificate one that may issue others. */
export const authorityExtensions = [
  'basicConstraints=critical,CA:TRUE',
  'keyUsage=critical,keyCertSign,cRLSign',
];

export class CertificateAuthority implements IssuedCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly #directory: string;
  #issued = 0;

  private constructor(directory: string, own: IssuedCertificate) {
    this.#directory = directory;
    this.certFile = own.certFile;
    this.keyFile = own.keyFile;
    this.cert = own.cert;
    this.key = own.key;
  }

  static async create(name = 'layercache test authority'): Promise<CertificateAuthority> {
    const directory = await mkdtemp(join(tmpdir(), 'layercache-authority-'));
    const extensions = authorityExtensions.flatMap((extension) => ['-addext', extension]);
    const own = await make(directory, 'authority', ['-subj', `/CN=${name}`, '-days', '1', ...extensions]);
    return new CertificateAuthority(directory, own);
  }

  /** Which certificate of this authority a server at `host:port` of this machine shows now. */
  async serialNumberAt(listen: string): Promise<string> {
    const port = Number(listen.split(':').at(-1));
    const socket = connect({ port, host: '127.0.0.1', ca: this.cert, ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  }

  /** A certificate signed by this authority, or by `issuer`, which it has issued. */
  async issue(
    request: CertificateRequest = {},
    issuer: IssuedCertificate = this,
  ): Promise<IssuedCertificate> {
    const { names = [], extensions = [], days = 1 } = request;
    this.#issued += 1;
    const all = [...(names.length > 0 ? [`subjectAltName=${names.join(',')}`] : []), ...extensions];
    if (!all.some((extension) => extension.startsWith('basicConstraints')))
      all.push('basicConstraints=critical,CA:FALSE');
    return await make(this.#directory, `issued-${this.#issued}`, [
      ...['-subj', `/CN=certificate ${this.#issued}`, '-days', String(days)],
      ...['-CA', issuer.certFile, '-CAkey', issuer.keyFile],
      ...all.flatMap((extension) => ['-addext', extension]),
    ]);
  }

  async delete(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

async function make(directory: string, name: string, args: readonly string[]): Promise<IssuedCertificate> {
  const certFile = join(directory, `${name}.pem`);
  const keyFile = join(directory, `${name}.key`);
  await run('openssl', ['req', '-x509', ...curve, ...args, '-keyout', keyFile, '-out', certFile]);
  return { certFile, keyFile, cert: await readFile(certFile), key: await readFile(keyFile) };
}
