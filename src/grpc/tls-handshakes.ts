import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls';
import { type TlsKeyPair, TlsKeyPairError } from './tls-key-pair.js';
import type { Peer } from './transport.js';

export interface HandshakeLimits {
  /** Milliseconds that a handshake may take. */
  readonly timeoutMs: number;
  /** Handshakes at once; beyond, the oldest is cut off. */
  readonly maxPending: number;
}

/** Takes over a decrypted connection; `certificate`: the client's, if it has one and it was verified. */
export type Accept = (socket: TLSSocket, certificate: () => Peer['certificate']) => void;

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
 * socket before it speaks TLS 1.2 or newer and HTTP/2: unknown clients that are
 * slow, silent or many cost it one socket each, for a bounded time.
 */
export class TlsHandshakes {
  readonly #accept: Accept;
  readonly #limits: HandshakeLimits;
  readonly #server: Server;
  /** Sockets by their addresses, the only public link between a finished handshake and its socket. */
  readonly #pending = new Map<string, Socket>();

  /**
   * Throws a `TlsKeyPairError` when the key does not belong to the certificate.
   *
   * @param accept takes over each connection
   */
  constructor(identity: TlsKeyPair, accept: Accept, limits = defaultHandshakeLimits) {
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
    // A client's mistake is not logged. After a handshake timeout the socket is still open.
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Handshakes in progress. */
  get pending(): number {
    return this.#pending.size;
  }

  begin(socket: Socket): void {
    const name = nameOf(socket);
    // A Unix socket has no name; its file's mode admits its peers, and its connections are bounded.
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
   * Uses this key pair for new connections; open ones stay.
   * Throws as the constructor does; then nothing has changed. Whether clients
   * need a certificate does not change.
   */
  renew(identity: TlsKeyPair): void {
    this.#server.setSecureContext(checked(identity));
  }

  readonly #onSecure = (socket: TLSSocket): void => {
    const name = nameOf(socket);
    if (name !== undefined) this.#pending.delete(name);
    // A client without ALPN would be taken for one that speaks HTTP/1.1.
    if (socket.alpnProtocol === 'h2') this.#accept(socket, () => certificateOf(socket));
    else socket.destroy();
  };

  #over(name: string, socket: Socket): void {
    if (this.#pending.get(name) === socket) this.#pending.delete(name);
  }
}

function checked(identity: TlsKeyPair) {
  const { cert, key, clientCa } = identity;
  const context = {
    cert,
    key,
    ciphers,
    minVersion: 'TLSv1.2' as const,
    ...(clientCa && { ca: clientCa }),
  };
  try {
    // OpenSSL accepts a file without any certificate, and then trusts no client.
    if (clientCa !== undefined) new X509Certificate(clientCa);
  } catch (error) {
    throw new TlsKeyPairError('clientCa', error);
  }
  try {
    new X509Certificate(cert);
    // Checked first: setSecureContext with a bad pair leaves the server without its good one.
    createSecureContext(context);
  } catch (error) {
    throw new TlsKeyPairError('pair', error);
  }
  return context;
}

function nameOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}

function certificateOf(socket: TLSSocket): Peer['certificate'] {
  if (!socket.authorized) return undefined;
  const certificate = socket.getPeerCertificate();
  // The type does not say so, but without one it is an empty object.
  return Object.hasOwn(certificate, 'raw') ? certificate : undefined;
}
