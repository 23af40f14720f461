import { isAscii } from 'node:buffer';
import { FindMissingRequest } from '../gen/layercache/v1/layer_cache.js';

// A field's number and its wire type, which is 2 for both: a length, then so many bytes.
const repositoryTag = (1 << 3) | 2;
const digestTag = (2 << 3) | 2;

/**
 * The generated decoder's answer. Of the plain message that a client sends, a
 * repository and its digests in the order of their fields, each shorter than
 * 128 characters, the texts are cut from one string: a fifth of the cost, which
 * with a hundred digests was more than all else that the call did.
 */
export function readFindMissing(message: Buffer): FindMissingRequest {
  // As ASCII the bytes are the text, whichever way they are read.
  return (
    (isAscii(message) ? plain(message.toString('latin1')) : undefined) ?? FindMissingRequest.decode(message)
  );
}

/** `undefined` for a message of another shape. */
function plain(text: string): FindMissingRequest | undefined {
  if (text.charCodeAt(0) !== repositoryTag) return undefined;
  let at = 2 + text.charCodeAt(1);
  const repository = text.slice(2, at);
  const digests: string[] = [];
  while (at < text.length) {
    if (text.charCodeAt(at) !== digestTag) return undefined;
    const end = at + 2 + text.charCodeAt(at + 1);
    digests.push(text.slice(at + 2, end));
    at = end;
  }
  // Cut short, even in a length (NaN), is for the decoder to refuse.
  return at === text.length ? { repository, digests, maxAge: undefined } : undefined;
}
