/** The head of a request: which header lists are well-formed (RFC 9113, 8.2 and 8.3). */

export interface RequestHead {
  /** `:path`; empty for CONNECT. */
  readonly path: string;
  readonly method: string;
  /** Of the body, in bytes; `undefined` where it is not said. */
  readonly contentLength: number | undefined;
  /** All fields, names and values in turn. */
  readonly fields: readonly string[];
  /** Kept by whoever answers, so that it is made once for equal requests. */
  derived: unknown;
}

const tokenCharacter = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** No NUL or line break anywhere, no space or tab at either end (RFC 9113, 8.2.1). */
const valueGrammar = /^(?:[^\0\r\n\t ](?:[^\0\r\n]*[^\0\r\n\t ])?)?$/;
/** A pseudo-field is part of a URI or a method: it has no space or control character in it. */
const pseudoGrammar = /^[\x21-\x7e\x80-\xff]*$/;

/** Fields about a connection, of which HTTP/2 has its own (RFC 9113, 8.2.2). */
const connectionFields = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

const pseudoFields = new Set([':method', ':scheme', ':authority', ':path']);

/** The head that a request's header list describes; `undefined` for a malformed one. */
export function requestHeadOf(fields: readonly string[]): RequestHead | undefined {
  const pseudo = new Map<string, string>();
  let contentLength: number | undefined;
  let hasRegular = false;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    if (name.startsWith(':')) {
      // They come first, once each, and are known (RFC 9113, 8.3).
      if (hasRegular || pseudo.has(name) || !pseudoFields.has(name) || !pseudoGrammar.test(value))
        return undefined;
      pseudo.set(name, value);
      continue;
    }
    hasRegular = true;
    if (!isRegularField(name, value)) return undefined;
    if (name === 'content-length') {
      if (!/^\d{1,15}$/.test(value) || (contentLength ?? Number(value)) !== Number(value)) return undefined;
      contentLength = Number(value);
    }
  }
  const method = pseudo.get(':method');
  const path = pseudo.get(':path');
  if (method === undefined || method === '') return undefined;
  if (method === 'CONNECT') {
    const isPlain = path === undefined && !pseudo.has(':scheme') && pseudo.has(':authority');
    return isPlain ? { method, path: '', contentLength, fields, derived: undefined } : undefined;
  }
  if (path === undefined || !pseudo.get(':scheme')) return undefined;
  // It begins with a slash, but for OPTIONS of the whole server (RFC 9113, 8.3.1).
  if (!path.startsWith('/') && !(method === 'OPTIONS' && path === '*')) return undefined;
  return { method, path, contentLength, fields, derived: undefined };
}

/** Whether trailers are well-formed: no pseudo-fields among them (RFC 9113, 8.1). */
export function areTrailersWellFormed(fields: readonly string[]): boolean {
  for (let at = 0; at < fields.length; at += 2) {
    if (!isRegularField(fields[at] as string, fields[at + 1] as string)) return false;
  }
  return true;
}

function isRegularField(name: string, value: string): boolean {
  if (!tokenCharacter.test(name) || !valueGrammar.test(value)) return false;
  return name === 'te' ? value.toLowerCase() === 'trailers' : !connectionFields.has(name);
}
