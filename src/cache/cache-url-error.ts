/** The URL names no cache that we can open. One line, fit for an operator. */
export class CacheUrlError extends TypeError {
  override readonly name = 'CacheUrlError';
}
