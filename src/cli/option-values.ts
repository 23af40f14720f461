/** What an option's text may be, and the value that it becomes. An issue's message completes "--name …". */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';

const second = 1000;
export const day = 24 * 60 * 60 * second;
export const kib = 1024;
export const mib = 1024 * kib;

/** Where to listen; an IPv6 host comes without its brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A Unix domain socket, by its path. */
export interface SocketAddress {
  readonly socketPath: string;
}

/** `host:port`, with brackets around an IPv6 host, or `unix:path`. */
export function formatAddress(address: Address | SocketAddress): string {
  if ('socketPath' in address) return `unix:${address.socketPath}`;
  const { host, port } = address;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether the host is this machine, however it is written. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** What a value looks like when it is written, as far as that can be said without parsing it. */
export interface WrittenForm {
  /** Every text that is one, where they can be listed. */
  readonly choices?: readonly string[];
  /** The source of a regular expression that the texts match. */
  readonly pattern?: string;
  /** The whole numbers that are one; none unless said. */
  readonly numbers?: { readonly min: number; readonly max: number };
}

/** Nothing for a schema whose text is free. */
export function writtenForm(schema: z.ZodType): WrittenForm {
  return (schema.meta()?.['form'] as WrittenForm | undefined) ?? {};
}

function form(written: WrittenForm): { readonly form: WrittenForm } {
  return { form: written };
}

function parsed<T>(parse: (text: string) => T | undefined, problem: string): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue(problem);
    return z.NEVER;
  });
}

/** A file's path; `undefined` for nothing. */
export function path(): z.ZodType<string | undefined, string> {
  return z.string().transform((text, context) => {
    if (!text.includes('\0')) return text || undefined;
    context.addIssue('must be the path of a file');
    return z.NEVER;
  });
}

/** A text that means something to others; `undefined` for nothing. */
export function text(): z.ZodType<string | undefined, string> {
  return z.string().transform((value) => value || undefined);
}

/** An `https:` URL, `http:` on this machine alone, or a file's path; `undefined` for nothing. */
export function pathOrUrl(): z.ZodType<string | undefined, string> {
  return z.string().transform((value, context) => {
    if (!/^https?:/i.test(value)) return path().parse(value);
    const { protocol, hostname, username, password } = URL.parse(value) ?? {};
    const isSafe = protocol === 'https:' || isLoopback(hostname?.replace(/^\[(.*)\]$/, '$1') ?? '');
    if (isSafe && username === '' && password === '') return value;
    context.addIssue('must be a file, or a URL with https: (http: on this machine) and without a password');
    return z.NEVER;
  });
}

// Which schemes there are is known where they are opened; here only that it is
// a URL at all, so that the message can name the option.
export function url(): z.ZodType<string, string> {
  return parsed(
    (text) => (/^[a-z][a-z0-9+.-]*:/.test(text) ? text : undefined),
    'must be a URL such as memory: or file:///var/lib/registry',
  ).meta(form({ pattern: '^[a-z][a-z0-9+.-]*:' }));
}

const hostAndPort = String.raw`(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}`;

/** `undefined` for `off`. */
export function addressOrOff(): z.ZodType<Address | undefined, string> {
  return z
    .string()
    .transform((text, context) => {
      if (text === 'off') return undefined;
      const { data, error } = address().safeParse(text);
      if (data !== undefined) return data;
      context.addIssue(`${error.issues[0]?.message}, or off`);
      return z.NEVER;
    })
    .meta(form({ pattern: `^(off|${hostAndPort})$` }));
}

export function address(): z.ZodType<Address, string> {
  return parsed((text) => {
    const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<name>[A-Za-z0-9._-]+)):(?<port>\d{1,5})$/.exec(text);
    const host = match?.groups?.['v6'] ?? match?.groups?.['name'];
    const port = Number(match?.groups?.['port']);
    return host !== undefined && port <= 65_535 ? { host, port } : undefined;
  }, 'must be host:port with a port from 0 to 65535, such as 127.0.0.1:50051 or [::1]:50051');
}

/** Bytes of a socket's path that every Unix takes: macOS has 104 with the final NUL, Linux 108. */
const maxSocketPath = 103;

/** `host:port`, or `unix:` and the path of a socket. */
export function listenAddress(): z.ZodType<Address | SocketAddress, string> {
  return z
    .string()
    .transform((text, context) => {
      const [, socketPath] = /^unix:(?:\/\/(?=\/))?(.*)$/s.exec(text) ?? [];
      if (socketPath === undefined) {
        const { data, error } = address().safeParse(text);
        if (data !== undefined) return data;
        context.addIssue(`${error.issues[0]?.message}, or unix:/path`);
        return z.NEVER;
      }
      const length = Buffer.byteLength(socketPath);
      if (length > 0 && length <= maxSocketPath && !socketPath.includes('\0')) return { socketPath };
      context.addIssue(`must be unix: and a path of 1 to ${maxSocketPath} bytes; this one has ${length}`);
      return z.NEVER;
    })
    .meta(form({ pattern: `^(unix:[\\s\\S]+|${hostAndPort})$` }));
}

/** Milliseconds. */
export function duration(min: number, max: number): z.ZodType<number, string> {
  const units = { ms: 1, s: second, m: 60 * second, h: 3600 * second };
  return quantity(units, min, max, `must be a duration such as 250ms, 5s or 2m, from ${min}ms to 24h`).meta({
    quantity: 'duration',
    ...quantityForm(units, min),
  });
}

/** Bytes. */
export function size(min: number, max: number): z.ZodType<number, string> {
  const units = { B: 1, KiB: kib, MiB: mib };
  const range = `from ${min === 0 ? 0 : `${min / kib}KiB`} to ${max / mib}MiB`;
  return quantity(units, min, max, `must be a size such as 256KiB, ${range}`).meta({
    quantity: 'size',
    ...quantityForm(units, min),
  });
}

/** A number of things at once. */
export function count(max: number): z.ZodType<number, string> {
  return parsed(
    (text) => (/^[1-9]\d{0,8}$/.test(text) && Number(text) <= max ? Number(text) : undefined),
    `must be a whole number from 1 to ${max}`,
  ).meta(form({ pattern: '^[1-9][0-9]{0,8}$', numbers: { min: 1, max } }));
}

/** The name of a repository. */
export function repositoryName(): z.ZodType<RepositoryName, string> {
  return parsed(parseRepositoryName, 'must be the name of a repository, such as library/alpine');
}

/** How many processes; `auto` is one for each core that this one may use. */
export function processes(max: number): z.ZodType<number, string> {
  return z
    .string()
    .transform((text, context) => {
      if (text === 'auto') return Math.min(availableParallelism(), max);
      const { data, error } = count(max).safeParse(text);
      if (data !== undefined) return data;
      context.addIssue(`${error.issues[0]?.message}, or auto`);
      return z.NEVER;
    })
    .meta(form({ pattern: '^(auto|[1-9][0-9]{0,8})$', numbers: { min: 1, max } }));
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

function quantityForm(units: Readonly<Record<string, number>>, min: number): { readonly form: WrittenForm } {
  const amount = `[0-9]{1,9}(${Object.keys(units).join('|')})`;
  return min === 0
    ? form({ pattern: `^(0|${amount})$`, numbers: { min: 0, max: 0 } })
    : form({ pattern: `^${amount}$` });
}

export function oneOf<const T extends string>(...values: readonly T[]): z.ZodType<T, string> {
  const problem = `must be one of ${values.join(', ')}`;
  return parsed((text) => values.find((value) => value === text), problem).meta(form({ choices: values }));
}

/** A value of an option as it may be written, without its secrets: `10m`, `16MiB`, `host:port`. */
export function writtenValue(schema: z.ZodType, value: unknown): string {
  if (value === undefined) return '';
  if (typeof value === 'number') {
    const quantity = schema.meta()?.['quantity'];
    if (quantity === 'duration') return inUnits(value, ['h', 'm', 's', 'ms'], [60, 60, 1000]);
    if (quantity === 'size') return inUnits(value, ['MiB', 'KiB', 'B'], [1024, 1024]);
  }
  if (typeof value === 'object' && value !== null && ('host' in value || 'socketPath' in value))
    return formatAddress(value as Address | SocketAddress);
  return String(value);
}

/** The largest unit of which the value is a whole number. */
function inUnits(value: number, units: readonly string[], steps: readonly number[]): string {
  if (value === 0) return '0';
  for (const [index, unit] of units.entries()) {
    const factor = steps.slice(index).reduce((product, step) => product * step, 1);
    if (value % factor === 0) return `${value / factor}${unit}`;
  }
  return String(value);
}

/** What `oneOf` was made of; nothing for any other schema. */
export function choicesOf(schema: z.ZodType): readonly string[] {
  return writtenForm(schema).choices ?? [];
}
