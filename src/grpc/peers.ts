import type { Http2Session } from 'node:http2';
import { type PeerCertificate, TLSSocket } from 'node:tls';

/** What grpc-js calls the authentication context. */
export interface Peer {
  /** The client's certificate, if it has one and TLS has verified it. */
  readonly sslPeerCertificate?: PeerCertificate | undefined;
}

/** The peer of each connection, as grpc-js reports it for each call, computed once. */
export class Peers {
  readonly #known = new WeakMap<Http2Session, Peer>();

  of(session: Http2Session | undefined): Peer {
    if (session === undefined || session.destroyed) return {};
    let peer = this.#known.get(session);
    if (peer === undefined) {
      peer = peerOf(session);
      this.#known.set(session, peer);
    }
    return peer;
  }
}

function peerOf({ socket }: Http2Session): Peer {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return {};
  const certificate = socket.getPeerCertificate();
  // The type does not say so, but without one it is an empty object.
  const isGiven = Object.hasOwn(certificate, 'raw');
  return { sslPeerCertificate: isGiven ? certificate : undefined };
}
