/**
 * Every option of the server, declared once: the command line, the
 * environment, validation, `--help` and the README's table all come from here.
 */
import type { z } from 'zod';
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

/** A value that does not fit its option; `message` is one line for the operator. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

interface OptionSpec<T> {
  /** What the value looks like, as `--help` shows it behind the name. */
  readonly placeholder: string;
  /** What applies when neither the command line nor the environment says anything. */
  readonly default: string;
  readonly help: string;
  /** From the text to the value; an issue's message completes "--name …". */
  readonly schema: z.ZodType<T, string>;
}

function option<T>(spec: OptionSpec<T>): OptionSpec<T> {
  return spec;
}

/** Of whatever is counted. */
const most = 1_000_000;

/** The server's options by name, in the order in which they are shown. */
export const options = {
  cache: option({
    placeholder: 'url',
    default: 'memory:',
    help: 'the layer-info cache: memory: (?max=<entries>, 100000 unless said), redis://… (?near=<layers> holds so many in this process too, &near-ttl=<duration> for so long, 60s unless said), redis+sentinel://…/master (?sentinel-user=, &sentinel-password= or &sentinel-password-file= say who we are to the sentinels), redis+cluster://…, or over TLS rediss… (?ca=, &cert=, &key= name PEM files). ?password-file= spares a password in the URL',
    schema: url(),
  }),
  storage: option({
    placeholder: 'url',
    default: 'file:///var/lib/registry',
    help: "the registry's storage: file:///<root> (?new=true: nobody may have pushed to it yet, &also=<directory>: symlinks may lead into it too, repeatable), s3://<bucket>/<root> (?region=, endpoint=, path-style=true, connections=, redirect-endpoint=), azblob://<account>/<container>/<root> (?endpoint=, connections=, redirect-endpoint=, leading-slash=true) or module:./<driver>.js",
    schema: url(),
  }),
  listen: option({
    placeholder: 'host:port|unix:path',
    default: '127.0.0.1:50051',
    help: 'where gRPC is served; port 0 takes a free one. unix:/path is a Unix domain socket with mode 0660, which is removed when the server ends',
    schema: listenAddress(),
  }),
  admin: option({
    placeholder: 'host:port',
    default: '127.0.0.1:9464',
    help: 'where /metrics, /healthz, /readyz and /debug/vars are served over HTTP, in plain text; port 0 takes a free one, off serves them nowhere',
    schema: addressOrOff(),
  }),
  workers: option({
    placeholder: 'processes|auto',
    default: '1',
    help: 'processes that answer, behind one port; auto is one for each core. Above 1 the cache must be one that they share, not memory:. Limits, near caches and re-checks are of each process',
    schema: processes(256),
  }),
  'tls-cert': option({
    placeholder: 'file',
    default: '',
    help: "the server's certificate and what leads from it to a root, PEM: gRPC is served over TLS",
    schema: path(),
  }),
  'tls-key': option({
    placeholder: 'file',
    default: '',
    help: "the certificate's private key, PEM",
    schema: path(),
  }),
  'tls-client-ca': option({
    placeholder: 'file',
    default: '',
    help: 'authorities of client certificates, PEM: a client without one of theirs is refused',
    schema: path(),
  }),
  auth: option({
    placeholder: 'how',
    default: 'none',
    help: "how callers are told apart: none (everybody may ask everything), jwt (the registry's bearer tokens) or mtls (client certificates)",
    schema: oneOf('none', 'jwt', 'mtls'),
  }),
  'auth-issuer': option({
    placeholder: 'text',
    default: '',
    help: "the iss of the tokens, as the registry's auth.token.issuer",
    schema: text(),
  }),
  'auth-service': option({
    placeholder: 'text',
    default: '',
    help: "the aud of the tokens, as the registry's auth.token.service",
    schema: text(),
  }),
  'auth-rootcertbundle': option({
    placeholder: 'file',
    default: '',
    help: "certificates that the tokens' x5c leads to or whose keys signed them, PEM, as the registry's auth.token.rootcertbundle",
    schema: path(),
  }),
  'auth-jwks': option({
    placeholder: 'file|url',
    default: '',
    help: "a JSON Web Key Set with the keys of the tokens, as the registry's auth.token.jwks, or the https: URL of one",
    schema: pathOrUrl(),
  }),
  'auth-policy': option({
    placeholder: 'file',
    default: '',
    help: 'which client certificate may do what, JSON, for --auth mtls',
    schema: path(),
  }),
  reflection: option({
    placeholder: 'on|off',
    default: 'on',
    help: "whether clients may ask for the service's description",
    schema: oneOf('on', 'off'),
  }),
  'cache-timeout': option({
    placeholder: 'duration',
    default: '100ms',
    help: 'how long a cache operation may take before the answer goes on without it',
    schema: duration(1, day),
  }),
  'storage-timeout': option({
    placeholder: 'duration',
    default: '10s',
    help: 'how long a storage operation, and a lookup as a whole, may take',
    schema: duration(1, day),
  }),
  'revalidate-after': option({
    placeholder: 'duration',
    default: '10m',
    help: 'the age from which a cached yes is checked against storage behind the answer; 0 never checks',
    schema: duration(0, day),
  }),
  'stall-timeout': option({
    placeholder: 'duration',
    default: '60s',
    help: 'how long a client may send no more of a request, or take nothing of an answer, before the call is reset',
    schema: duration(1, day),
  }),
  'drain-timeout': option({
    placeholder: 'duration',
    default: '30s',
    help: 'how long calls may take to finish after SIGTERM or SIGINT before they are cut',
    schema: duration(0, day),
  }),
  'max-inflight': option({
    placeholder: 'calls',
    default: '1000',
    help: 'unary calls at once; a FindMissing counts as 1 and 1 more for each 16 digests. Beyond it calls are refused with OVERLOADED',
    schema: count(most),
  }),
  'max-streams': option({
    placeholder: 'streams',
    default: '1000',
    help: 'Fetches at once. Beyond it they are refused with OVERLOADED',
    schema: count(most),
  }),
  'max-connection-streams': option({
    placeholder: 'calls',
    default: '250',
    help: 'calls at once on one connection; the client is told and keeps the rest back',
    schema: count(most),
  }),
  'max-connections': option({
    placeholder: 'connections',
    default: '4000',
    help: 'gRPC connections at once. Beyond it new ones are closed',
    schema: count(most),
  }),
  'chunk-size': option({
    placeholder: 'size',
    default: '2MiB',
    help: 'the most bytes in one chunk of a Fetch that does not ask for a size of its own, 4KiB to 2MiB',
    schema: size(4 * kib, 2 * mib),
  }),
  verify: option({
    placeholder: 'when',
    default: 'first',
    help: 'when a whole layer is hashed while it is served: first (once per blob and process), always or off',
    schema: oneOf('first', 'always', 'off'),
  }),
  'small-layers': option({
    placeholder: 'size',
    default: '16MiB',
    help: 'how much memory each process gives to the bytes of layers of at most 64KiB that were hashed, served once the storage says that the blob is still the same; 0 keeps none, nor does --verify always',
    schema: size(0, 1024 * mib),
  }),
  'log-level': option({
    placeholder: 'level',
    default: 'info',
    help: 'the least level that is logged: trace, debug, info, warn, error or fatal',
    schema: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal'),
  }),
  'access-log': option({
    placeholder: 'on|off',
    default: 'on',
    help: 'whether each call is logged, at info',
    schema: oneOf('on', 'off'),
  }),
};

export type OptionName = keyof typeof options;

/** Validated values by option name; durations are milliseconds, sizes bytes. */
export type Config = { readonly [K in OptionName]: z.output<(typeof options)[K]['schema']> };

/** The names of all options, in the order of the schema. */
export const optionNames = Object.keys(options) as readonly OptionName[];

/** The environment variable of an option. */
export function environmentName(name: OptionName): string {
  return `LAYERCACHE_${name.replaceAll('-', '_').toUpperCase()}`;
}

/**
 * The value of one option: what the command line says, else the environment (an
 * empty variable says nothing), else the default. Throws `ConfigError` that
 * names the option and where its value came from, never the value itself: it
 * may hold credentials.
 */
export function resolveOption<K extends OptionName>(
  name: K,
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
): Config[K] {
  const variable = environmentName(name);
  const fromEnvironment = environment[variable] || undefined;
  const text = given ?? fromEnvironment ?? options[name].default;
  const result = options[name].schema.safeParse(text);
  if (result.success) return result.data as Config[K];
  const origin = given === undefined ? ` (from ${variable})` : '';
  throw new ConfigError(`--${name}${origin} ${result.error.issues[0]?.message ?? 'is invalid'}`);
}

/** All options, as `resolveOption` gives each. Throws `ConfigError` also for options that do not go together. */
export function resolveConfig(
  given: Readonly<Partial<Record<OptionName, string>>>,
  environment: NodeJS.ProcessEnv,
): Config {
  const config = Object.fromEntries(
    optionNames.map((name) => [name, resolveOption(name, given[name], environment)]),
  ) as Config;
  const problem = problemTogether(config);
  if (problem !== undefined) throw new ConfigError(problem);
  return config;
}

/** The first option that does not go with the others, and why; one line. */
function problemTogether(config: Config): string | undefined {
  const needs = (name: OptionName, other: OptionName) =>
    config[name] !== undefined && config[other] === undefined ? `--${name} needs --${other}` : undefined;
  const tls =
    needs('tls-cert', 'tls-key') ?? needs('tls-key', 'tls-cert') ?? needs('tls-client-ca', 'tls-cert');
  return tls ?? workersProblem(config) ?? authProblem(config);
}

function workersProblem({ workers, cache }: Config): string | undefined {
  return workers > 1 && cache.startsWith('memory:')
    ? `--workers ${workers} needs a --cache that all workers share, such as redis://…; with memory: a Remove would reach one of them only`
    : undefined;
}

const tokenOptions = ['auth-issuer', 'auth-service', 'auth-rootcertbundle', 'auth-jwks'] as const;

function authProblem(config: Config): string | undefined {
  const missing = (names: readonly OptionName[]) => {
    const name = names.find((name) => config[name] === undefined);
    return name && `--auth ${config.auth} needs --${name}`;
  };
  switch (config.auth) {
    case 'jwt':
      if (config['auth-rootcertbundle'] === undefined && config['auth-jwks'] === undefined)
        return '--auth jwt needs --auth-rootcertbundle or --auth-jwks';
      return missing(['auth-issuer', 'auth-service']);
    case 'mtls':
      return missing(['tls-client-ca', 'auth-policy']);
    case 'none': {
      // Whoever writes one believes that callers are told apart.
      const name = [...tokenOptions, 'auth-policy' as const].find((name) => config[name] !== undefined);
      return name && `--${name} needs --auth ${name === 'auth-policy' ? 'mtls' : 'jwt'}`;
    }
  }
}

/** The options as the README shows them, a Markdown table. */
export function optionsTable(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const prose = (text: string) => cell(text).replaceAll('<', '&lt;');
  return [
    '| option | environment | default | meaning |',
    '|---|---|---|---|',
    ...optionNames.map((name) => {
      const { placeholder, default: fallback, help } = options[name];
      const flag = cell(`--${name} <${placeholder}>`);
      const shown = fallback === '' ? '' : `\`${fallback}\``;
      return `| \`${flag}\` | \`${environmentName(name)}\` | ${shown} | ${prose(help)} |`;
    }),
  ].join('\n');
}
