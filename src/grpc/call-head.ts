/** What a call's request headers say, read once for equal headers. */
import type { RequestHead } from '../http2/request-head.js';
import type { RpcMethod } from './transport.js';

// As grpc-js reads it, which takes more than the grammar allows.
const timeoutGrammar = /(\d{1,8})\s*([HMSmun])/;
const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

export class CallHead {
  readonly method: RpcMethod;
  /** Milliseconds; infinite without the header, not a number for one that is malformed. */
  readonly timeoutMs: number;
  readonly timeoutText: string;
  /** How messages are compressed, if they are. */
  readonly encoding: string;
  readonly #fields: readonly string[];

  constructor(method: RpcMethod, head: RequestHead) {
    this.method = method;
    this.#fields = head.fields;
    this.timeoutText = this.get('grpc-timeout')[0] ?? '';
    this.timeoutMs = this.timeoutText === '' ? Number.POSITIVE_INFINITY : timeoutOf(this.timeoutText);
    this.encoding = this.get('grpc-encoding')[0] ?? 'identity';
  }

  /** The values of a header. */
  get(key: string): readonly string[] {
    return valuesOf(this.#fields, key);
  }
}

/** The values of a field in a list of names and values. */
export function valuesOf(fields: readonly string[], name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] === name) values.push(fields[at + 1] as string);
  }
  return values;
}

function timeoutOf(text: string): number {
  const [, count, unit = ''] = timeoutGrammar.exec(text) ?? [];
  return Math.trunc(Number(count) * (unitMs[unit] ?? Number.NaN));
}
