import { isAscii } from 'node:buffer';
import { FindMissingRequest } from '../gen/messages/layercache/v1/layer_cache.js';
import { type Digest, isSha256DigestAt, sha256DigestLength } from '../reference/digest.js';
import { maxDigests } from './request.js';

/** A request as it was read. */
export interface FindMissingRead extends FindMissingRequest {
  /** The digests, where reading has already shown that they are valid, distinct and not too many. */
  readonly valid: readonly Digest[] | undefined;
}

// A field's number and its wire type, which is 2 for both: a length, then so many bytes.
const repositoryTag = (1 << 3) | 2;
const digestTag = (2 << 3) | 2;
const tagAndLength = 2;
const digestField = tagAndLength + sha256DigestLength;

/**
 * The generated decoder's answer. Of the plain message that a client sends, a
 * repository and its digests in the order of their fields, each shorter than
 * 128 characters, the texts are cut from one string: a fifth of the cost, which
 * with a hundred digests was more than all else that the call did. Where all
 * are SHA-256 they are checked as bytes, too: it was half of the rest.
 */
export function readFindMissing(message: Buffer): FindMissingRead {
  // As ASCII the bytes are the text, whichever way they are read.
  if (!isAscii(message)) return decoded(message);
  return sha256Only(message) ?? plain(message.toString('latin1')) ?? decoded(message);
}

function decoded(message: Buffer): FindMissingRead {
  return { ...FindMissingRequest.decode(message), valid: undefined };
}

/** `undefined` for a message of another shape. */
function sha256Only(message: Buffer): FindMissingRead | undefined {
  if (message[0] !== repositoryTag) return undefined;
  const begin = tagAndLength + (message[1] ?? 0);
  const count = (message.length - begin) / digestField;
  if (!Number.isInteger(count) || count < 1 || count > maxDigests) return undefined;
  for (let at = begin; at < message.length; at += digestField) {
    if (message[at] !== digestTag || message[at + 1] !== sha256DigestLength) return undefined;
    if (!isSha256DigestAt(message, at + tagAndLength)) return undefined;
  }
  const text = message.toString('latin1');
  const digests: Digest[] = [];
  for (let at = begin; at < text.length; at += digestField) {
    digests.push(text.slice(at + tagAndLength, at + digestField) as Digest);
  }
  const valid = mayRepeat(message, begin, count) ? undefined : digests;
  return { repository: text.slice(tagAndLength, begin), digests, maxAge: undefined, valid };
}

/** Whether two of the digests have the same first quarter of their hash, nearly: no for nearly all that are distinct. */
function mayRepeat(message: Buffer, begin: number, count: number): boolean {
  const mask = 2 ** (32 - Math.clz32(4 * count)) - 1;
  const seen = new Int32Array(mask + 1);
  const hash = begin + tagAndLength + 'sha256:'.length;
  for (let at = hash; at < message.length; at += digestField) {
    let mix = 1;
    for (let word = at; word < at + 16; word += 4) {
      mix = Math.imul(mix ^ message.readInt32LE(word), 0x9e3779b1);
      mix ^= mix >>> 15;
    }
    // 0 is an empty slot.
    const mark = mix | 1;
    let place = (mix >>> 1) & mask;
    while (seen[place] !== 0) {
      if (seen[place] === mark) return true;
      place = (place + 1) & mask;
    }
    seen[place] = mark;
  }
  return false;
}

/** `undefined` for a message of another shape. */
function plain(text: string): FindMissingRead | undefined {
  if (text.charCodeAt(0) !== repositoryTag) return undefined;
  let at = tagAndLength + text.charCodeAt(1);
  const repository = text.slice(tagAndLength, at);
  const digests: string[] = [];
  while (at < text.length) {
    if (text.charCodeAt(at) !== digestTag) return undefined;
    const end = at + tagAndLength + text.charCodeAt(at + 1);
    digests.push(text.slice(at + tagAndLength, end));
    at = end;
  }
  // The decoder refuses a message that is cut short, even within a length (NaN).
  return at === text.length ? { repository, digests, maxAge: undefined, valid: undefined } : undefined;
}
