/**
 * The command line: `serve` (also when no command is named) and `health`.
 * Parsing starts nothing; it says what is to be done.
 */
import { Command, CommanderError, Option } from 'commander';
import { options } from './option-schema.js';
import type { Address } from './option-values.js';
import {
  type Config,
  ConfigError,
  environmentName,
  type OptionName,
  optionNames,
  resolveConfig,
  resolveOption,
} from './options.js';

/** What the command line asks for. */
export type Invocation =
  | { readonly command: 'serve'; readonly config: Config }
  | { readonly command: 'health'; readonly admin: Address }
  /** Nothing to run: `text` was asked for (code 0) or says what is wrong (code 2). */
  | { readonly command: 'none'; readonly code: 0 | 2; readonly text: string };

/** Reads the arguments behind the program's name. Never throws for what an operator may write. */
export function parseCommandLine(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  version: string,
): Invocation {
  let invocation: Invocation | undefined;
  let text = '';
  const write = (part: string) => {
    text += part;
  };

  const program = new Command('layercache')
    .description('The cached layer service of a container registry, over gRPC.')
    .version(version)
    .configureOutput({ writeOut: write, writeErr: write })
    .showSuggestionAfterError(false)
    .exitOverride();

  const serve = program
    .command('serve', { isDefault: true })
    .description('answer until SIGTERM or SIGINT (what happens when no command is named)');
  for (const name of optionNames) declare(serve, name);
  serve.action((given: Readonly<Record<string, string>>) => {
    invocation = { command: 'serve', config: resolveConfig(byOptionName(given), environment) };
  });

  const health = program
    .command('health')
    .description("ask a running server's /readyz: exit 0 when it is ready, else 1");
  declare(health, 'admin');
  health.action((given: { readonly admin?: string }) => {
    const admin = resolveOption('admin', given.admin, environment);
    if (admin === undefined) throw new ConfigError('--admin is off: there is nobody to ask');
    invocation = { command: 'health', admin };
  });

  program.addHelpText('after', () => `\n${serve.helpInformation()}`);

  try {
    program.parse(args, { from: 'user' });
  } catch (error) {
    if (error instanceof ConfigError) return { command: 'none', code: 2, text: line(error.message) };
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { command: 'none', code: 0, text };
    return { command: 'none', code: 2, text: line(withoutValue(error.message)) };
  }
  if (invocation === undefined) throw new Error('a command was parsed and not carried out');
  return invocation;
}

function declare(command: Command, name: OptionName): void {
  const { group, placeholder, default: fallback, help } = options[name];
  const text = `${help} (${fallback && `default: ${fallback}, `}env: ${environmentName(name)})`;
  command.addOption(new Option(`--${name} <${placeholder}>`, text).helpGroup(`${group}:`));
}

// commander hands values over by camel-cased name.
function byOptionName(given: Readonly<Record<string, string>>): Partial<Record<OptionName, string>> {
  const named: Partial<Record<OptionName, string>> = {};
  for (const name of optionNames) {
    const value = given[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    if (value !== undefined) named[name] = value;
  }
  return named;
}

// `--chace=redis://user:secret@host` must not put the secret into a log.
function withoutValue(message: string): string {
  return message.replace(/('--[^'=]*)=[^\n]*'/, "$1'");
}

function line(message: string): string {
  return `layercache: ${message.replace(/^error: /, '').replaceAll('\n', ' ')}; see layercache --help\n`;
}
