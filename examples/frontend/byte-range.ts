/** The `Range` header of RFC 9110, section 14, as far as a blob needs it. */

export interface ByteRange {
  readonly offset: number;
  /** How many bytes; never 0. */
  readonly limit: number;
}

/**
 * The one range that is asked for, cut to the length; `undefined` for what is to
 * be ignored (several ranges, other units, nonsense), so that the whole is sent.
 */
export function parseRange(header: string, length: number): ByteRange | 'unsatisfiable' | undefined {
  const { first = '', last = '' } = /^bytes=\s*(?<first>\d*)-(?<last>\d*)\s*$/.exec(header)?.groups ?? {};
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const limit = Math.min(Number(last), length);
    return limit === 0 ? 'unsatisfiable' : { offset: length - limit, limit };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return undefined;
  if (offset >= length) return 'unsatisfiable';
  return { offset, limit: Math.min(last === '' ? length : Number(last) + 1, length) - offset };
}
