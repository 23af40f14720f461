/** What `layercache config` does: says what is wrong with the options, or what is in force and why. */
import { CacheUrlError } from '../cache/errors.js';
import { describeCache } from '../cache/open.js';
import { describeStorage, openStorage } from '../storage/open.js';
import { StorageUrlError } from '../storage/storage-url-error.js';
import { type ConfigFile, problemLine, readConfigFile } from './config-file.js';
import { describeConfig } from './described-config.js';
import { options } from './option-schema.js';
import {
  type Config,
  ConfigError,
  environmentName,
  type OptionName,
  optionNames,
  resolveConfig,
  resolveOption,
  saidOf,
} from './options.js';

/** What the options are made of. */
export interface OptionSources {
  readonly given: Readonly<Partial<Record<OptionName, string>>>;
  readonly environment: NodeJS.ProcessEnv;
}

/** One line of what is wrong. */
interface Problem {
  readonly problem: string;
  readonly file?: string;
  readonly line?: number;
}

interface Output {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** Resolves with 0 when the server could start with these options, as far as that shows without asking anything, else with 2. */
export async function checkConfig(sources: OptionSources, json: boolean, output: Output): Promise<0 | 2> {
  const { file, config, problems } = await examine(sources);
  if (config === undefined) {
    for (const each of problems)
      (json ? output.stdout : output.stderr).write(
        json ? `${JSON.stringify(each)}\n` : `layercache: ${each.problem.replaceAll('\n', ' ')}\n`,
      );
    return 2;
  }
  output.stdout.write(json ? jsonSettings(sources, file, config) : settingsTable(sources, file, config));
  return 0;
}

/** The options, or everything that is wrong with them. */
async function examine({ given, environment }: OptionSources): Promise<{
  readonly file: ConfigFile | undefined;
  readonly config: Config | undefined;
  readonly problems: readonly Problem[];
}> {
  const problems: Problem[] = [];
  const attempt = async <T>(resolve: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await resolve();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push({ problem: error.message });
      return undefined;
    }
  };
  const path = await attempt(() => resolveOption('config', given.config, environment));
  const file = path === undefined ? undefined : await attempt(() => readConfigFile(path));
  for (const each of file?.problems ?? [])
    problems.push({ problem: problemLine(file?.path ?? '', each), file: file?.path ?? '', line: each.line });
  for (const name of optionNames)
    if (name !== 'config') await attempt(() => resolveOption(name, given[name], environment, file));
  if (problems.length > 0) return { file, config: undefined, problems };
  const config = await attempt(() => resolveConfig(given, environment, file));
  if (config !== undefined) {
    await attempt(() => checkUrl('cache', () => describeCache(config.cache)));
    await attempt(() => checkUrl('storage', () => checkStorageUrl(config)));
  }
  return { file, config: problems.length === 0 ? config : undefined, problems };
}

/** Opens it, which asks no storage. */
async function checkStorageUrl(config: Config): Promise<void> {
  const driver = await openStorage(config.storage, { timeoutMs: config['storage-timeout'] });
  await driver.close();
}

async function checkUrl(option: 'cache' | 'storage', check: () => unknown): Promise<void> {
  try {
    await check();
  } catch (error) {
    if (!(error instanceof CacheUrlError || error instanceof StorageUrlError)) throw error;
    throw new ConfigError(`--${option}: ${error.message}`, { cause: error });
  }
}

interface Setting {
  readonly option: string;
  readonly value: string;
  readonly from: string;
  readonly file?: string;
  readonly line?: number;
  readonly variable?: string;
}

function settingsOf(
  { given, environment }: OptionSources,
  file: ConfigFile | undefined,
  config: Config,
): Setting[] {
  const described = { cache: describeCache(config.cache), storage: describeStorage(config.storage) };
  const values = new Map(describeConfig(config, described).map(({ name, value }) => [name, value]));
  return optionNames.map((option) => {
    const { origin } = saidOf(option, options[option], given[option], environment, file);
    const line = file?.values.get(option)?.line;
    return {
      option,
      value: values.get(option) ?? '',
      from: origin,
      ...(origin === 'environment' && { variable: environmentName(option) }),
      ...(origin === 'file' && file !== undefined && { file: file.path }),
      ...(origin === 'file' && line !== undefined && { line }),
    };
  });
}

function jsonSettings(sources: OptionSources, file: ConfigFile | undefined, config: Config): string {
  return settingsOf(sources, file, config)
    .map((setting) => `${JSON.stringify(setting)}\n`)
    .join('');
}

function settingsTable(sources: OptionSources, file: ConfigFile | undefined, config: Config): string {
  const rows = settingsOf(sources, file, config).map(({ option, value, from, variable, file, line }) => [
    option,
    value === '' ? '-' : value,
    variable ?? (file === undefined ? from : `${file}:${line}`),
  ]);
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  const widths = [width(0), Math.min(width(1), 60)];
  return rows
    .map(
      ([option = '', value = '', from]) =>
        `${option.padEnd(widths[0] ?? 0)}  ${value.padEnd(widths[1] ?? 0)}  ${from}\n`,
    )
    .join('');
}
