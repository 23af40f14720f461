/** From the client's options to a channel of grpc-js: target, credentials, retries and load balancing. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import { type ChannelCredentials, type ClientOptions, credentials } from '@grpc/grpc-js';

/** PEM, or a file with it. */
export type Pem = string | Uint8Array | { readonly file: string };

export interface TlsOptions {
  /** Authorities that the server's certificate may come from; Node's own unless given. */
  readonly ca?: Pem;
  /** The client's certificate with what leads from it to a root; needs `key`. */
  readonly cert?: Pem;
  readonly key?: Pem;
  /** The name that the server's certificate must have; the host of the address unless given. */
  readonly serverName?: string;
}

export interface ConnectionOptions {
  /**
   * Where the server is: `host:port`, `unix:/path`, or any target of gRPC such as `dns:///name:port`.
   * A name with several addresses, or a list of IP addresses with ports, is asked round robin.
   */
  readonly address: string | readonly string[];
  /** TLS; plain text unless given. `true` trusts the authorities that Node trusts. */
  readonly tls?: TlsOptions | boolean;
  /** How often a call is made at most, the first time included, 1 to 5; 4 unless given. 1 retries nothing. */
  readonly maxAttempts?: number;
}

const service = 'layercache.v1.LayerCacheService';

/** What a client of grpc-js is made of. Throws `TypeError` for options that make no channel. */
export function channelOf({ address, tls, maxAttempts = 4 }: ConnectionOptions): {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly options: ClientOptions;
} {
  const target = targetOf(address);
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1 || maxAttempts > 5)
    throw new TypeError('maxAttempts must be a whole number from 1 to 5');
  const options: ClientOptions = {
    'grpc.service_config': serviceConfig(maxAttempts),
    'grpc.enable_retries': maxAttempts > 1 ? 1 : 0,
    // A server that vanished without a word is noticed, also while a stream waits for it.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  };
  if (tls === undefined || tls === false)
    return { target, credentials: credentials.createInsecure(), options };
  return { target, ...secured(target, tls === true ? {} : tls, options) };
}

/** Every call may be repeated: each says how things are, or records what is so. */
function serviceConfig(maxAttempts: number): string {
  const retryPolicy = {
    maxAttempts,
    initialBackoff: '0.1s',
    maxBackoff: '2s',
    backoffMultiplier: 3,
    // The second is OVERLOADED: nothing was done for the call.
    retryableStatusCodes: ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'],
  };
  return JSON.stringify({
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig: [{ name: [{ service }], ...(maxAttempts > 1 && { retryPolicy }) }],
    // In an outage, retries end with one for every ten calls.
    retryThrottling: { maxTokens: 100, tokenRatio: 0.1 },
  });
}

function targetOf(address: string | readonly string[]): string {
  if (typeof address === 'string') return address;
  const [first = ''] = address;
  if (address.length <= 1) return first;
  const versions = new Set(address.map((each) => isIP(hostOf(each) ?? '')));
  const [version = 0] = versions;
  if (versions.size > 1 || version === 0)
    throw new TypeError(
      'several addresses must be IP addresses of one version with their ports; a name that resolves to several is asked round robin, too',
    );
  return `ipv${version}:${address.join(',')}`;
}

/** The host of `host:port`, without brackets. */
function hostOf(address: string): string | undefined {
  const { v6, host } = /^(?:\[(?<v6>.+)\]|(?<host>[^:]*)):\d+$/.exec(address)?.groups ?? {};
  return v6 ?? host;
}

function secured(target: string, { ca, cert, key, serverName }: TlsOptions, options: ClientOptions) {
  const context = createSecureContext({
    ...(ca !== undefined && { ca: read(ca) }),
    ...(cert !== undefined && { cert: read(cert) }),
    ...(key !== undefined && { key: read(key) }),
    // As gRPC asks: TLS 1.2 at least.
    minVersion: 'TLSv1.2',
  });
  const host = hostOf(target.replace(/^dns:(\/\/[^/]*\/)?/, ''));
  if (serverName === undefined && host !== undefined && isIP(host) !== 0) {
    // An address cannot be named in a handshake; it is still what the certificate must hold.
    const verify = { checkServerIdentity: (_: string, peer: Certificate) => checkServerIdentity(host, peer) };
    return {
      credentials: credentials.createFromSecureContext(context, verify),
      options: { ...options, 'grpc.ssl_target_name_override': 'localhost' },
    };
  }
  return {
    credentials: credentials.createFromSecureContext(context),
    options: serverName === undefined ? options : { ...options, 'grpc.ssl_target_name_override': serverName },
  };
}

type Certificate = Parameters<typeof checkServerIdentity>[1];

function read(pem: Pem): string | Buffer {
  if (typeof pem === 'string') return pem;
  return pem instanceof Uint8Array ? Buffer.from(pem) : readFileSync(pem.file);
}
