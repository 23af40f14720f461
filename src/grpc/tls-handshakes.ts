import type { Socket } from 'node:net';
import { createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls';
import { certificatesOf } from '../auth/pem-certificates.js';

/** Who the server says it is, and whose clients it takes; PEM. */
export interface TlsIdentity {
  /** The certificate, followed by what leads from it to a root that clients know. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Authorities of client certificates; with them a client without one is refused. */
  readonly clientCa: Buffer | undefined;
}

export interface HandshakeLimits {
  /** Milliseconds that a handshake may take. */
  readonly timeoutMs: number;
  /** Handshakes at once; beyond them the one that began first is given up. */
  readonly maxPending: number;
}

export const defaultHandshakeLimits: HandshakeLimits = { timeoutMs: 10_000, maxPending: 256 };

// HTTP/2 asks for ciphers of this kind and may refuse the rest (RFC 9113, 9.2.2).
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE+AESGCM',
  'ECDHE+CHACHA20',
].join(':');

/**
 * The handshakes of a server's connections. The gRPC server never sees a
 * socket before it speaks TLS 1.2 or newer and HTTP/2: strangers that are slow,
 * silent or many cost it nothing but a socket each, for a bounded time.
 */
export class TlsHandshakes {
  readonly #accept: (socket: TLSSocket) => void;
  readonly #limits: HandshakeLimits;
  readonly #server: Server;
  /** Sockets by their addresses, which is all that a finished handshake has in common with them. */
  readonly #pending = new Map<string, Socket>();

  /**
   * Throws a `TlsIdentityError` when the identity is no pair of a certificate
   * and its key.
   * @param accept what takes over each connection
   */
  constructor(identity: TlsIdentity, accept: (socket: TLSSocket) => void, limits = defaultHandshakeLimits) {
    this.#accept = accept;
    this.#limits = limits;
    this.#server = createServer({
      ...checked(identity),
      ALPNProtocols: ['h2'],
      handshakeTimeout: limits.timeoutMs,
      requestCert: identity.clientCa !== undefined,
      rejectUnauthorized: true,
    });
    this.#server.on('secureConnection', this.#onSecure);
    // What a stranger did wrong is his to know. Of a handshake that took too long the socket is still open.
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** How many have not come to an end. */
  get pending(): number {
    return this.#pending.size;
  }

  begin(socket: Socket): void {
    const name = nameOf(socket);
    // A Unix socket has no name: its peers are let in by the file's mode, and its connections are bounded.
    if (name !== undefined) {
      if (this.#pending.size >= this.#limits.maxPending) {
        const [first] = this.#pending.values();
        first?.destroy();
      }
      this.#pending.set(name, socket);
      socket.once('close', () => this.#over(name, socket));
    }
    // Its 'close' follows.
    socket.on('error', () => {});
    this.#server.emit('connection', socket);
  }

  /**
   * From now on connections begin with this identity; those that stand stay.
   * Throws as the constructor does; then nothing has changed. Whether clients
   * need a certificate does not change.
   */
  renew(identity: TlsIdentity): void {
    this.#server.setSecureContext(checked(identity));
  }

  readonly #onSecure = (socket: TLSSocket): void => {
    const name = nameOf(socket);
    if (name !== undefined) this.#pending.delete(name);
    // A client without ALPN would be taken for one that speaks HTTP/1.1.
    if (socket.alpnProtocol === 'h2') this.#accept(socket);
    else socket.destroy();
  };

  #over(name: string, socket: Socket): void {
    if (this.#pending.get(name) === socket) this.#pending.delete(name);
  }
}

function checked(identity: TlsIdentity) {
  const { cert, key, clientCa } = identity;
  const context = {
    cert,
    key,
    ciphers,
    minVersion: 'TLSv1.2' as const,
    ...(clientCa && { ca: clientCa }),
  };
  try {
    // OpenSSL takes a file without any, and then trusts nobody.
    if (clientCa !== undefined) certificatesOf(clientCa);
  } catch (error) {
    throw new TlsIdentityError('clientCa', error);
  }
  try {
    certificatesOf(cert);
    // A server that is given a bad pair has already half forgotten its good one.
    createSecureContext(context);
  } catch (error) {
    throw new TlsIdentityError('pair', error);
  }
  return context;
}

/** Certificate, key and authorities cannot be used; the message says why, in one line, and quotes nothing. */
export class TlsIdentityError extends Error {
  override readonly name = 'TlsIdentityError';
  /** @param part which of it: the authorities, or certificate and key */
  constructor(
    readonly part: 'clientCa' | 'pair',
    cause: unknown,
  ) {
    super(reasonOf(cause), { cause });
  }
}

// OpenSSL's own words are for those who wrote it.
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'they cannot be used';
  switch ('code' in cause ? cause.code : undefined) {
    case undefined:
      return cause.message;
    case 'ERR_OSSL_X509_KEY_VALUES_MISMATCH':
      return "the key is not the certificate's";
    case 'ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED':
    case 'ERR_MISSING_PASSPHRASE':
      return 'the key is encrypted';
    default:
      return `they cannot be used (${'code' in cause ? cause.code : ''})`;
  }
}

function nameOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}
