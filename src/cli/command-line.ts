/**
 * The command line: `serve` (also when no command is named), `health`, and the
 * commands of `commands/`. Parsing starts nothing; it says what is to be done.
 */
import { Argument, Command as CommanderCommand, CommanderError, Option } from 'commander';
import type { ArgumentSpec, Command, ExitCode, OptionSpec } from './command.js';
import { commands, config, health, serve } from './command-list.js';
import type { OptionSources } from './config-command.js';
import type { ConfigFile } from './config-file.js';
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
  resolveValue,
} from './options.js';

/** What the command line asks for. */
export type Invocation =
  | { readonly command: 'serve'; readonly config: Config }
  | { readonly command: 'health'; readonly admin: Address }
  /** One of `commands/`, called `name`; `run` does what was asked until `signal` aborts. */
  | { readonly command: 'run'; readonly name: string; run(signal: AbortSignal): Promise<ExitCode> }
  /** Nothing to run: `text` was asked for (code 0) or says what is wrong (code 2). */
  | { readonly command: 'none'; readonly code: 0 | 2; readonly text: string };

/** Reads the arguments behind the program's name. Never rejects for what an operator may write. */
export async function parseCommandLine(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  version: string,
): Promise<Invocation> {
  let invocation: Invocation | undefined;
  let text = '';
  const program = declareProgram(environment, version, (asked) => {
    invocation = asked;
  });
  const write = (part: string) => {
    text += part;
  };
  for (const each of [program, ...program.commands])
    each.configureOutput({ writeOut: write, writeErr: write });

  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    const help = helpFor(program, args);
    if (error instanceof ConfigError) return { command: 'none', code: 2, text: line(error.message, help) };
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { command: 'none', code: 0, text };
    return { command: 'none', code: 2, text: line(withoutValue(error.message), help) };
  }
  if (invocation === undefined) throw new Error('a command was parsed and not carried out');
  return invocation;
}

/** The whole command line as commander knows it; parsing it calls `ask` with what was asked for. */
function declareProgram(
  environment: NodeJS.ProcessEnv,
  version: string,
  ask: (invocation: Invocation) => void,
): CommanderCommand {
  const program = new CommanderCommand('layercache')
    .description('The cached layer service of a container registry, over gRPC.')
    .version(version)
    .showSuggestionAfterError(false)
    .exitOverride();

  const serving = program.command(serve.name, { isDefault: true }).description(serve.summary);
  for (const name of optionNames) declareOption(serving, name, options[name]);
  serving.action(async (given: Readonly<Record<string, string>>) => {
    const named = givenOptions(given);
    const file = await configFile(named.config, environment);
    ask({ command: 'serve', config: resolveConfig(named, environment, file) });
  });

  const probe = program.command(health.name).description(health.summary);
  for (const [name, option] of Object.entries(health.options)) declareOption(probe, name, option);
  probe.action(async (given: { readonly admin?: string; readonly config?: string }) => {
    const file = await configFile(given.config, environment);
    const admin = resolveOption('admin', given.admin, environment, file);
    if (admin === undefined) throw new ConfigError('--admin is off: there is nobody to ask');
    ask({ command: 'health', admin });
  });

  const checking = program.command(config.name).summary(config.summary).description(config.description);
  const { action } = config.arguments;
  checking.addArgument(new Argument(`<${action.placeholder}>`, action.help));
  for (const [name, option] of Object.entries(config.options)) declareOption(checking, name, option);
  checking.action((asked: string, given: Readonly<Record<string, string>>) => {
    const value = argumentValue(action, asked);
    const isJson = given['json'] !== undefined;
    const sources = { given: givenOptions(given), environment };
    const run = value === 'check' ? () => checkConfig(sources, isJson) : printConfigSchema;
    ask({ command: 'run', name: config.name, run });
  });

  for (const command of commands) declareCommand(program, command, { environment, version, ask });
  program.addHelpText('after', () => `\n${serving.helpInformation()}`);
  return program;
}

/** What the command line says of the server's options. */
function givenOptions(given: Readonly<Record<string, string>>): Partial<Record<OptionName, string>> {
  const named: Partial<Record<OptionName, string>> = {};
  for (const name of optionNames) {
    const value = given[camelCased(name)];
    if (value !== undefined) named[name] = value;
  }
  return named;
}

/** The file that `--config` or its variable names. Rejects with a `ConfigError` for one that is wrong. */
async function configFile(
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<ConfigFile | undefined> {
  const path = resolveOption('config', given, environment);
  if (path === undefined) return undefined;
  // Loaded only here: most servers have no file.
  const { firstProblem, readConfigFile } = await import('./config-file.js');
  const file = await readConfigFile(path);
  const problem = firstProblem(file);
  if (problem !== undefined) throw new ConfigError(problem);
  return file;
}

async function checkConfig(sources: OptionSources, json: boolean): Promise<ExitCode> {
  const { checkConfig } = await import('./config-command.js');
  return checkConfig(sources, json, process);
}

async function printConfigSchema(): Promise<ExitCode> {
  const { configSchema } = await import('./config-schema.js');
  process.stdout.write(`${JSON.stringify(configSchema(), undefined, 2)}\n`);
  return 0;
}

/** What a command is parsed with, and what receives the result. */
interface Surroundings {
  readonly environment: NodeJS.ProcessEnv;
  readonly version: string;
  readonly ask: (invocation: Invocation) => void;
}

function declareCommand(
  program: CommanderCommand,
  spec: Command,
  { environment, version, ask }: Surroundings,
): void {
  const declared = program.command(spec.name).summary(spec.summary);
  declared.description(spec.description === undefined ? spec.summary : spec.description);
  for (const { placeholder, help } of Object.values(spec.arguments))
    declared.addArgument(new Argument(`<${placeholder}>`, help));
  if (spec.rest !== undefined)
    declared.addArgument(new Argument(`[${spec.rest.placeholder}...]`, spec.rest.help));
  for (const [name, option] of Object.entries(spec.options)) declareOption(declared, name, option);

  declared.action(async (...given: readonly unknown[]) => {
    const names = Object.keys(spec.arguments);
    const texts = given as readonly string[];
    const values = Object.entries(spec.arguments).map(([name, each], index) => [
      name,
      argumentValue(each, texts[index] ?? ''),
    ]);
    const rest = spec.rest === undefined ? [] : (given[names.length] as readonly string[]);
    const file =
      'config' in spec.options ? await configFile(declared.opts()['config'], environment) : undefined;
    const asked = {
      arguments: Object.fromEntries(values),
      rest: rest.map((text) => argumentValue(spec.rest as ArgumentSpec<unknown>, text)),
      options: optionValues(spec, declared.opts(), environment, file),
    };
    ask({ command: 'run', name: spec.name, run: (signal) => spec.run({ ...asked, version, signal }) });
  });
}

function declareOption(command: CommanderCommand, name: string, spec: OptionSpec<unknown>): void {
  const { group, placeholder, default: fallback, help, short, repeatable } = spec;
  const notes = [
    fallback === '' || placeholder === '' ? [] : [`default: ${fallback}`],
    spec.environment === false ? [] : [`env: ${environmentName(name)}`],
  ].flat();
  const text = notes.length === 0 ? help : `${help} (${notes.join(', ')})`;
  const value = placeholder === '' ? '' : ` <${placeholder}>`;
  const option = new Option(`${short === undefined ? '' : `-${short}, `}--${name}${value}`, text);
  if (repeatable)
    option.argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text]);
  command.addOption(option.helpGroup(`${group}:`));
}

function optionValues(
  spec: Command,
  given: Readonly<Record<string, unknown>>,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | undefined,
): Record<string, unknown> {
  const values = Object.entries(spec.options).map(([name, option]) => {
    const value = given[camelCased(name)];
    if (!option.repeatable) {
      // A flag that is given is `true` to commander.
      const text = value === undefined ? undefined : String(value);
      return [name, resolveValue(name, option, text, environment, file)];
    }
    const texts = (value ?? file?.values.get(name)?.texts ?? []) as readonly string[];
    return [name, texts.map((text) => resolveValue(name, option, text, environment))];
  });
  return Object.fromEntries(values);
}

function argumentValue(spec: ArgumentSpec<unknown>, text: string): unknown {
  const result = spec.schema.safeParse(text);
  if (result.success) return result.data;
  throw new ConfigError(`${spec.placeholder} ${result.error.issues[0]?.message ?? 'is invalid'}`);
}

// commander hands values over by camel-cased name.
function camelCased(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

// `--chace=redis://user:secret@host` must not put the secret into a log.
function withoutValue(message: string): string {
  return message.replace(/('--[^'=]*)=[^\n]*'/, "$1'");
}

/** The line that shows what may be asked, of the command that was named. */
function helpFor(program: CommanderCommand, args: readonly string[]): string {
  const named = [config, ...commands].find(({ name }) => name === args[0]);
  return named === undefined ? `${program.name()} --help` : `${program.name()} ${named.name} --help`;
}

function line(message: string, help: string): string {
  return `layercache: ${message.replace(/^error: /, '').replaceAll('\n', ' ')}; see ${help}\n`;
}
