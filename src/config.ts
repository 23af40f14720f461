/**
 * Every option of the server, declared once: the command line, the
 * environment, validation, `--help` and the README's table all come from here.
 */
import { z } from 'zod';

const second = 1000;
const day = 24 * 60 * 60 * second;
const kib = 1024;
const mib = 1024 * kib;

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

/** The server's options by name, in the order in which they are shown. */
export const options = {
  cache: option({
    placeholder: 'url',
    default: 'memory:',
    help: 'the layer-info cache: memory: (?max=<entries>, 100000 unless said), redis://… or rediss://… (?near=<layers> holds so many in this process too, &near-ttl=<duration> for so long, 60s unless said)',
    schema: url(),
  }),
  storage: option({
    placeholder: 'url',
    default: 'file:///var/lib/registry',
    help: "the registry's storage: file:///<root> (?new=true: nobody may have pushed to it yet) or module:./<driver>.js",
    schema: url(),
  }),
  listen: option({
    placeholder: 'host:port',
    default: '127.0.0.1:50051',
    help: 'where gRPC is served; port 0 takes a free one',
    schema: address(),
  }),
  admin: option({
    placeholder: 'host:port',
    default: '127.0.0.1:9464',
    help: 'where /metrics, /healthz, /readyz and /debug/vars are served over HTTP; port 0 takes a free one',
    schema: address(),
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
    help: 'how long a client may take no data of a Fetch before its stream is reset',
    schema: duration(1, day),
  }),
  'drain-timeout': option({
    placeholder: 'duration',
    default: '30s',
    help: 'how long calls may take to finish after SIGTERM or SIGINT before they are cut',
    schema: duration(0, day),
  }),
  'chunk-size': option({
    placeholder: 'size',
    default: '512KiB',
    help: 'the most bytes in one chunk of a Fetch that does not ask for a size of its own, 4KiB to 2MiB',
    schema: size(4 * kib, 2 * mib),
  }),
  verify: option({
    placeholder: 'when',
    default: 'first',
    help: 'when a whole layer is hashed while it is served: first (once per blob and process), always or off',
    schema: oneOf('first', 'always', 'off'),
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

/** Where to listen; an IPv6 host comes without its brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

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

/** All options; see `resolveOption`. */
export function resolveConfig(
  given: Readonly<Partial<Record<OptionName, string>>>,
  environment: NodeJS.ProcessEnv,
): Config {
  return Object.fromEntries(
    optionNames.map((name) => [name, resolveOption(name, given[name], environment)]),
  ) as Config;
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
      return `| \`${flag}\` | \`${environmentName(name)}\` | \`${fallback}\` | ${prose(help)} |`;
    }),
  ].join('\n');
}

/** `host:port`, with brackets around an IPv6 host. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function parsed<T>(parse: (text: string) => T | undefined, problem: string): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue(problem);
    return z.NEVER;
  });
}

// Which schemes there are is known where they are opened; here only that it is
// a URL at all, so that the message can name the option.
function url(): z.ZodType<string, string> {
  return parsed(
    (text) => (/^[a-z][a-z0-9+.-]*:/.test(text) ? text : undefined),
    'must be a URL such as memory: or file:///var/lib/registry',
  );
}

function address(): z.ZodType<Address, string> {
  return parsed((text) => {
    const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<name>[A-Za-z0-9._-]+)):(?<port>\d{1,5})$/.exec(text);
    const host = match?.groups?.['v6'] ?? match?.groups?.['name'];
    const port = Number(match?.groups?.['port']);
    return host !== undefined && port <= 65_535 ? { host, port } : undefined;
  }, 'must be host:port with a port from 0 to 65535, such as 127.0.0.1:50051 or [::1]:50051');
}

/** Milliseconds. */
function duration(min: number, max: number): z.ZodType<number, string> {
  const units = { ms: 1, s: second, m: 60 * second, h: 3600 * second };
  return quantity(units, min, max, `must be a duration such as 250ms, 5s or 2m, from ${min}ms to 24h`);
}

/** Bytes. */
function size(min: number, max: number): z.ZodType<number, string> {
  const range = `from ${min / kib}KiB to ${max / mib}MiB`;
  return quantity({ B: 1, KiB: kib, MiB: mib }, min, max, `must be a size such as 256KiB, ${range}`);
}

function quantity(
  units: Readonly<Record<string, number>>,
  min: number,
  max: number,
  problem: string,
): z.ZodType<number, string> {
  return parsed((text) => {
    const [, amount, unit = ''] = /^(\d{1,9})([A-Za-z]+)$/.exec(text) ?? [];
    // Nothing is nothing in any unit.
    if (text === '0' && min === 0) return 0;
    const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
    if (factor === undefined) return undefined;
    const value = Number(amount) * factor;
    return value >= min && value <= max ? value : undefined;
  }, problem);
}

function oneOf<const T extends string>(...values: readonly T[]): z.ZodType<T, string> {
  return parsed((text) => values.find((value) => value === text), `must be one of ${values.join(', ')}`);
}
