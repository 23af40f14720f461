import { createHash, timingSafeEqual } from 'node:crypto';

/** Whether the `Authorization` header bears the token, compared in a time that tells nothing of either. */
export function bearsToken(header: string | undefined, token: string): boolean {
  const [, given = ''] = /^Bearer +(\S+)$/i.exec(header ?? '') ?? [];
  return timingSafeEqual(digestOf(given), digestOf(token));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
