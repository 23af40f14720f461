import type { IncomingHttpHeaders } from 'node:http2';

/** A call's metadata, text values only; a value is copied when it is read. */
export class HeaderValues {
  readonly #headers: IncomingHttpHeaders;

  constructor(headers: IncomingHttpHeaders) {
    this.#headers = headers;
  }

  get(key: string): string[] {
    const value = this.#headers[key.toLowerCase()];
    if (value === undefined) return [];
    return typeof value === 'string' ? [value] : value;
  }
}
