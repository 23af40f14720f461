import { z } from 'zod';

/** A number of bytes, or an offset in them. */
export function byteCount(): z.ZodType<number, string> {
  return z.string().transform((text, context) => {
    const value = Number(text);
    if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(value)) return value;
    context.addIssue('must be a whole number of bytes');
    return z.NEVER;
  });
}
