/**
 * The configuration file: a YAML mapping from the names of the server's options
 * to their values. What is wrong in it is told by line and key, and never with a
 * value, which may hold credentials.
 */
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { OptionSpec, OptionSpecs } from './command.js';
import { options } from './option-schema.js';
import { writtenForm } from './option-values.js';
import { ConfigError } from './options.js';
import { FileUnreadableError, WatchedFiles } from './watched-files.js';

/** A file that was read, with what is wrong in it. */
export interface ConfigFile {
  readonly path: string;
  /** By option name; only what is right. */
  readonly values: ReadonlyMap<string, ConfigFileValue>;
  readonly problems: readonly ConfigFileProblem[];
}

export interface ConfigFileValue {
  /** As the command line would say it; several only for an option that may be repeated. */
  readonly texts: readonly string[];
  /** Of its key, counted from 1. */
  readonly line: number;
}

export interface ConfigFileProblem {
  /** Counted from 1. */
  readonly line: number;
  /** Names the key. */
  readonly message: string;
}

/** Bytes. */
const maxSize = 65_536;

const { config: _, ...rest } = options;
/** The options that a file may set: all but the one that names it. */
export const fileOptions: OptionSpecs = rest;

/** Reads the file. Rejects with a `ConfigError` when it cannot be read. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  try {
    const files = await WatchedFiles.open([path]);
    const [bytes = Buffer.alloc(0)] = files.contents;
    if (bytes.length > maxSize) throw new FileUnreadableError(path, `it is larger than ${maxSize} bytes`);
    return parseConfigFile(path, bytes);
  } catch (error) {
    if (!(error instanceof FileUnreadableError)) throw error;
    throw new ConfigError(`--config: ${path}: ${error.message}`, { cause: error });
  }
}

/** What is wrong first, as the line that ends a start. `undefined` for a file that is right. */
export function firstProblem({ path, problems: [first, ...more] }: ConfigFile): string | undefined {
  if (first === undefined) return undefined;
  const others = more.length === 0 ? '' : ` (and ${more.length} more: layercache config check)`;
  return `${problemLine(path, first)}${others}`;
}

export function problemLine(path: string, { line, message }: ConfigFileProblem): string {
  return `${path}:${line}: ${message}`;
}

export function parseConfigFile(path: string, bytes: Buffer, specs: OptionSpecs = fileOptions): ConfigFile {
  const values = new Map<string, ConfigFileValue>();
  const problems: ConfigFileProblem[] = [];
  const entries = entriesOf(bytes, problems);
  const lines = new Map<string, number>();
  for (const { key, line, value } of entries) {
    const spec = Object.hasOwn(specs, key) ? specs[key] : undefined;
    const before = lines.get(key);
    const refuse = (message: string) => problems.push({ line, message });
    if (spec === undefined) refuse(`${shown(key)} is no option of serve that a file may set`);
    else if (before !== undefined) refuse(`${key} is given twice, first in line ${before}`);
    else {
      lines.set(key, line);
      const { texts, problem } = textsOf(spec, value);
      if (problem === undefined) values.set(key, { texts, line });
      else refuse(`${key} ${problem}`);
    }
  }
  problems.sort((one, other) => one.line - other.line);
  return { path, values, problems };
}

interface Entry {
  readonly key: string;
  readonly line: number;
  readonly value: unknown;
}

/** The pairs of the mapping, and into `problems` what makes it none. */
function entriesOf(bytes: Buffer, problems: ConfigFileProblem[]): Entry[] {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // Only the bytes decide.
    problems.push({ line: 1, message: 'the file is not UTF-8' });
    return [];
  }
  const lineCounter = new LineCounter();
  const lineAt = (offset: number | undefined) => Math.max(1, lineCounter.linePos(offset ?? 0).line);
  // Its own check of keys compares each with each, and its pretty errors quote the line.
  const document = parseDocument(text, {
    lineCounter,
    prettyErrors: false,
    uniqueKeys: false,
  });
  for (const { pos, code, message } of [...document.errors, ...document.warnings])
    problems.push({ line: lineAt(pos[0]), message: `is no well-formed YAML: ${yamlProblem(code, message)}` });
  const { contents } = document;
  if (problems.length > 0 || contents === null) return [];
  if (!isMap(contents)) {
    const message = 'must be options by name, such as cache: redis://127.0.0.1:6379';
    problems.push({ line: lineAt((contents as Node).range?.[0]), message });
    return [];
  }
  return contents.items.flatMap(({ key, value }) => {
    const line = lineAt(isNode(key) ? key.range?.[0] : undefined);
    if (isScalar(key) && typeof key.value === 'string') return { key: key.value, line, value };
    problems.push({ line, message: 'a key must be the name of an option' });
    return [];
  });
}

// These name a word of the file, which may be a password; other messages quote the file behind a colon.
function yamlProblem(code: string, message: string): string {
  if (code === 'TAG_RESOLVE_FAILED') return 'an unknown tag; a text that begins with ! needs quotes';
  if (code === 'BAD_DIRECTIVE') return 'an unknown directive; a text that begins with % needs quotes';
  if (code === 'MULTIPLE_DOCS') return 'more than one document';
  const [said = ''] = message.split(/:\s|\n|["'`]/);
  return said.charAt(0).toLowerCase() + said.slice(1).trim();
}

/** A name that cannot be an option may be a mistyped line with a secret in it. */
function shown(key: string): string {
  return /^[\w-]{1,40}$/.test(key) ? key : 'a key that is no name';
}

/** The value's texts, or the problem that completes "NAME …". */
function textsOf(
  spec: OptionSpec<unknown>,
  value: unknown,
): { readonly texts: readonly string[]; readonly problem?: string } {
  const nodes = spec.repeatable && isSeq(value) ? value.items : [value];
  const texts: string[] = [];
  for (const node of nodes) {
    const text = textOf(spec, node);
    if (typeof text !== 'string') return { texts: [], problem: text.problem };
    const { error } = spec.schema.safeParse(text);
    if (error !== undefined) return { texts: [], problem: error.issues[0]?.message ?? 'is invalid' };
    texts.push(text);
  }
  return { texts };
}

function textOf({ schema }: OptionSpec<unknown>, node: unknown): string | { readonly problem: string } {
  if (isAlias(node)) return { problem: 'must be one text or number; a text that begins with * needs quotes' };
  if (!isScalar(node)) return { problem: node === null ? 'has no value' : 'must be one text or number' };
  const { value, source } = node;
  const { choices, numbers } = writtenForm(schema);
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
      // 0x10 and 1e3 are what they are on the command line: no numbers.
      if (numbers !== undefined) return source ?? String(value);
      return { problem: 'must be a text: a number needs quotes there' };
    case 'boolean':
      return { problem: `must be ${choices === undefined ? 'a text' : `one of ${choices.join(', ')}`}` };
    default:
      return { problem: 'has no value' };
  }
}
