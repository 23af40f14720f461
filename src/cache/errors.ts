/** The URL names no cache that we can open. One line, fit for an operator. */
export class CacheUrlError extends TypeError {
  override readonly name = 'CacheUrlError';
}

/** The cache works, but not as its URL asks, or it has changed. One line, fit for an operator. */
export class CacheNotice extends Error {
  override readonly name: string = 'CacheNotice';
}
