/** From the command line, the environment and the configuration file to validated values. */
import type { z } from 'zod';
import type { OptionSpec } from './command.js';
import type { ConfigFile } from './config-file.js';
import { options } from './option-schema.js';
import { formatAddress, isLoopback } from './option-values.js';

/** A value that does not fit its option; `message` is one line for the operator. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

export type OptionName = keyof typeof options;

/** Validated values by option name; durations are milliseconds, sizes bytes. */
export type Config = { readonly [K in OptionName]: z.output<(typeof options)[K]['schema']> };

/** The names of all options, in the order of the schema. */
export const optionNames = Object.keys(options) as readonly OptionName[];

/** The environment variable of an option. */
export function environmentName(name: string): string {
  return `LAYERCACHE_${name.replaceAll('-', '_').toUpperCase()}`;
}

/** Where the value of an option was said. */
export type Origin = 'command line' | 'environment' | 'file' | 'default';

/**
 * What was said of an option and where: the command line wins over the
 * environment (an empty variable says nothing), that over the configuration
 * file, that over the default.
 */
export function saidOf(
  name: string,
  spec: OptionSpec<unknown>,
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
  file?: ConfigFile,
): { readonly text: string; readonly origin: Origin } {
  if (given !== undefined) return { text: given, origin: 'command line' };
  const variable = spec.environment === false ? undefined : environment[environmentName(name)];
  if (variable) return { text: variable, origin: 'environment' };
  const [text] = file?.values.get(name)?.texts ?? [];
  return text === undefined ? { text: spec.default, origin: 'default' } : { text, origin: 'file' };
}

/**
 * The value of one option, as `saidOf` finds it. Throws `ConfigError` that names
 * the option and where its value came from, never the value itself: it may hold
 * credentials.
 */
export function resolveOption<K extends OptionName>(
  name: K,
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
  file?: ConfigFile,
): Config[K] {
  return resolveValue<unknown>(name, options[name], given, environment, file) as Config[K];
}

/** The same of an option of any command, which is called `name`. */
export function resolveValue<T>(
  name: string,
  spec: OptionSpec<T>,
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
  file?: ConfigFile,
): T {
  const { text, origin } = saidOf(name, spec, given, environment, file);
  const result = spec.schema.safeParse(text);
  if (result.success) return result.data;
  const from = origin === 'environment' ? ` (from ${environmentName(name)})` : '';
  throw new ConfigError(`--${name}${from} ${result.error.issues[0]?.message ?? 'is invalid'}`);
}

/** All options, as `resolveOption` gives each. Throws `ConfigError` also for options that do not go together. */
export function resolveConfig(
  given: Readonly<Partial<Record<OptionName, string>>>,
  environment: NodeJS.ProcessEnv,
  file?: ConfigFile,
): Config {
  const config = Object.fromEntries(
    optionNames.map((name) => [name, resolveOption(name, given[name], environment, file)]),
  ) as Config;
  assertTogether(config);
  return config;
}

/** Throws `ConfigError` for options that do not go together. */
export function assertTogether(config: Config): void {
  const problem = problemTogether(config);
  if (problem !== undefined) throw new ConfigError(problem);
}

/** The first option that does not go with the others, and why; one line. */
function problemTogether(config: Config): string | undefined {
  const needs = (name: OptionName, other: OptionName) =>
    config[name] !== undefined && config[other] === undefined ? `--${name} needs --${other}` : undefined;
  const tls =
    needs('tls-cert', 'tls-key') ?? needs('tls-key', 'tls-cert') ?? needs('tls-client-ca', 'tls-cert');
  return (
    tls ??
    needs('admin-token-file', 'diagnostics-dir') ??
    needs('admin-token-file', 'admin') ??
    needs('notifications-token-file', 'notifications') ??
    notificationsProblem(config) ??
    workersProblem(config) ??
    authProblem(config)
  );
}

function notificationsProblem({
  notifications,
  'notifications-token-file': token,
}: Config): string | undefined {
  if (notifications === undefined || token !== undefined || isLoopback(notifications.host)) return undefined;
  return `--notifications ${formatAddress(notifications)} needs --notifications-token-file: without a token they are taken on the loopback only`;
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
      // An operator who sets one expects authentication.
      const name = [...tokenOptions, 'auth-policy' as const].find((name) => config[name] !== undefined);
      return name && `--${name} needs --auth ${name === 'auth-policy' ? 'mtls' : 'jwt'}`;
    }
  }
}

/** The options as docs/configuration.md shows them, a Markdown table. */
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
