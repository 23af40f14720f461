/**
 * Every option of the server, declared once: the command line, the
 * environment, validation, `--help` and the table of docs/configuration.md all come from here.
 */
import type { OptionSpec } from './command.js';
import {
  addressOrOff,
  count,
  day,
  duration,
  kib,
  listenAddress,
  mib,
  oneOf,
  path,
  pathOrUrl,
  processes,
  size,
  text,
  url,
} from './option-values.js';

export type OptionGroup =
  | 'What it serves'
  | 'Where it listens'
  | 'TLS'
  | 'Authentication and authorization'
  | 'Deadlines'
  | 'Limits'
  | 'Log'
  | 'Diagnosis'
  | 'Configuration file';

export interface ServerOption<T> extends OptionSpec<T> {
  readonly group: OptionGroup;
}

function option<T>(spec: ServerOption<T>): ServerOption<T> {
  return spec;
}

/** Of whatever is counted. */
const most = 1_000_000;

/** The server's options by name, in the order in which they are shown. */
export const options = {
  cache: option({
    group: 'What it serves',
    placeholder: 'url',
    default: 'memory:',
    help: 'the layer-info cache: memory: (?max=<entries>, default 100000), redis://… (?near=<layers> also holds up to that many in this process, &near-ttl=<duration> each at most that long, default 60s), redis+sentinel://…/master (?sentinel-user=, &sentinel-password= or &sentinel-password-file= for the sentinels), redis+cluster://…, or over TLS rediss… (?ca=, &cert=, &key= name PEM files). ?password-file= instead of a password in the URL',
    schema: url(),
  }),
  storage: option({
    group: 'What it serves',
    placeholder: 'url',
    default: 'file:///var/lib/registry',
    help: "the registry's storage: file:///<root> (?new=true: it may be empty still, &also=<directory>: symlinks may lead into it too, repeatable), s3://<bucket>/<root> (?region=, endpoint=, path-style=true, connections=, redirect-endpoint=), azblob://<account>/<container>/<root> (?endpoint=, connections=, redirect-endpoint=, leading-slash=true) or module:./<driver>.js",
    schema: url(),
  }),
  verify: option({
    group: 'What it serves',
    placeholder: 'when',
    default: 'first',
    help: 'when a whole layer is hashed while it is sent: first (once per blob and process), always or off',
    schema: oneOf('first', 'always', 'off'),
  }),
  'small-layers': option({
    group: 'What it serves',
    placeholder: 'size',
    default: '16MiB',
    help: 'how much memory each process gives to the bytes of layers of at most 64KiB that were hashed, served once the storage says that the blob is still the same; 0 keeps none, nor does --verify always',
    schema: size(0, 1024 * mib),
  }),
  'revalidate-after': option({
    group: 'What it serves',
    placeholder: 'duration',
    default: '10m',
    help: 'the age from which a cached membership is checked against storage in the background; 0 never checks',
    schema: duration(0, day),
  }),
  'chunk-size': option({
    group: 'What it serves',
    placeholder: 'size',
    default: '2MiB',
    help: 'the most bytes in one chunk of a Fetch that does not ask for a size of its own, 4KiB to 2MiB',
    schema: size(4 * kib, 2 * mib),
  }),
  listen: option({
    group: 'Where it listens',
    placeholder: 'host:port|unix:path',
    default: '127.0.0.1:50051',
    help: 'where gRPC is served; port 0 takes a free one. unix:/path is a Unix domain socket with mode 0660, which is removed when the server ends',
    schema: listenAddress(),
  }),
  transport: option({
    group: 'Where it listens',
    placeholder: 'direct|grpc-js',
    default: 'direct',
    help: 'what carries the calls: direct, an HTTP/2 of its own, or grpc-js, the library, several times slower and without some limits',
    schema: oneOf('direct', 'grpc-js'),
  }),
  admin: option({
    group: 'Where it listens',
    placeholder: 'host:port',
    default: '127.0.0.1:9464',
    help: 'where the status page (/), /metrics, /healthz, /readyz and /debug/vars are served over HTTP, in plain text; port 0 takes a free one, off serves them nowhere',
    schema: addressOrOff(),
  }),
  notifications: option({
    group: 'Where it listens',
    placeholder: 'host:port',
    default: 'off',
    help: "where a registry's notifications are taken over HTTP, as POST /events: pushed and mounted layers are recorded, deleted ones forgotten; port 0 takes a free one, off takes none",
    schema: addressOrOff(),
  }),
  workers: option({
    group: 'Where it listens',
    placeholder: 'processes|auto',
    default: '1',
    help: 'processes that answer, behind one port; auto is one for each core. Above 1 the cache must be one that they share, not memory:. Limits, near caches and re-checks are of each process',
    schema: processes(256),
  }),
  reflection: option({
    group: 'Where it listens',
    placeholder: 'on|off',
    default: 'on',
    help: "whether clients may ask for the service's description",
    schema: oneOf('on', 'off'),
  }),
  'tls-cert': option({
    group: 'TLS',
    placeholder: 'file',
    default: '',
    help: "the server's certificate and what leads from it to a root, PEM: gRPC is served over TLS",
    schema: path(),
  }),
  'tls-key': option({
    group: 'TLS',
    placeholder: 'file',
    default: '',
    help: "the certificate's private key, PEM",
    schema: path(),
  }),
  'tls-client-ca': option({
    group: 'TLS',
    placeholder: 'file',
    default: '',
    help: 'authorities of client certificates, PEM: a client without one of theirs is refused',
    schema: path(),
  }),
  auth: option({
    group: 'Authentication and authorization',
    placeholder: 'how',
    default: 'none',
    help: "how clients authenticate: none, jwt (the registry's bearer tokens) or mtls (client certificates)",
    schema: oneOf('none', 'jwt', 'mtls'),
  }),
  'auth-issuer': option({
    group: 'Authentication and authorization',
    placeholder: 'text',
    default: '',
    help: "the iss of the tokens, as the registry's auth.token.issuer",
    schema: text(),
  }),
  'auth-service': option({
    group: 'Authentication and authorization',
    placeholder: 'text',
    default: '',
    help: "the aud of the tokens, as the registry's auth.token.service",
    schema: text(),
  }),
  'auth-rootcertbundle': option({
    group: 'Authentication and authorization',
    placeholder: 'file',
    default: '',
    help: "roots of the tokens' x5c chains, or certificates whose keys signed them, PEM, as the registry's auth.token.rootcertbundle",
    schema: path(),
  }),
  'auth-jwks': option({
    group: 'Authentication and authorization',
    placeholder: 'file|url',
    default: '',
    help: "a JSON Web Key Set with the keys of the tokens, as the registry's auth.token.jwks, or the https: URL of one",
    schema: pathOrUrl(),
  }),
  'auth-policy': option({
    group: 'Authentication and authorization',
    placeholder: 'file',
    default: '',
    help: 'the scopes of each client certificate, JSON, for --auth mtls',
    schema: path(),
  }),
  'notifications-token-file': option({
    group: 'Authentication and authorization',
    placeholder: 'file',
    default: '',
    help: 'a file with the bearer token that a registry has to send with its notifications; without one they are taken on the loopback only',
    schema: path(),
  }),
  'cache-timeout': option({
    group: 'Deadlines',
    placeholder: 'duration',
    default: '100ms',
    help: 'the deadline of a cache operation; after it storage answers',
    schema: duration(1, day),
  }),
  'storage-timeout': option({
    group: 'Deadlines',
    placeholder: 'duration',
    default: '10s',
    help: 'how long a storage operation, and a lookup as a whole, may take',
    schema: duration(1, day),
  }),
  'stall-timeout': option({
    group: 'Deadlines',
    placeholder: 'duration',
    default: '60s',
    help: 'how long a client may stop sending its request or taking its answer before the call is reset',
    schema: duration(1, day),
  }),
  'drain-timeout': option({
    group: 'Deadlines',
    placeholder: 'duration',
    default: '30s',
    help: 'how long calls may take to finish after SIGTERM or SIGINT before they are cut',
    schema: duration(0, day),
  }),
  'max-inflight': option({
    group: 'Limits',
    placeholder: 'calls',
    default: '1000',
    help: 'unary calls at once; a FindMissing counts as 1 and 1 more for each 16 digests. Beyond it calls are refused with OVERLOADED',
    schema: count(most),
  }),
  'max-streams': option({
    group: 'Limits',
    placeholder: 'streams',
    default: '1000',
    help: 'Fetches at once. Beyond it they are refused with OVERLOADED',
    schema: count(most),
  }),
  'max-connection-streams': option({
    group: 'Limits',
    placeholder: 'calls',
    default: '250',
    help: 'calls at once on one connection; clients hold back the rest',
    schema: count(most),
  }),
  'max-connections': option({
    group: 'Limits',
    placeholder: 'connections',
    default: '4000',
    help: 'gRPC connections at once. Beyond it new ones are closed',
    schema: count(most),
  }),
  'log-level': option({
    group: 'Log',
    placeholder: 'level',
    default: 'info',
    help: 'the least level that is logged: trace, debug, info, warn, error or fatal',
    schema: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal'),
  }),
  'access-log': option({
    group: 'Log',
    placeholder: 'on|off',
    default: 'on',
    help: 'whether each call is logged, at info',
    schema: oneOf('on', 'off'),
  }),
  'diagnostics-dir': option({
    group: 'Diagnosis',
    placeholder: 'directory',
    default: '',
    help: 'where CPU profiles and heap snapshots are written, which may hold secrets: SIGUSR2 writes a profile of 10 seconds. The newest five of each process are kept',
    schema: path(),
  }),
  'admin-token-file': option({
    group: 'Diagnosis',
    placeholder: 'file',
    default: '',
    help: 'a file with the bearer token for POST /debug/profile?seconds=10 and POST /debug/heap at the admin port, which are answered on the loopback only',
    schema: path(),
  }),
  config: option({
    group: 'Configuration file',
    placeholder: 'file',
    default: '',
    help: 'a YAML file of these options by name, for what neither the command line nor the environment says; layercache config check tells what is wrong in it and what is in force',
    schema: path(),
  }),
};
