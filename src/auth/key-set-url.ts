import type { JWK } from 'jose';
import { type KeysById, keysOfSet } from './key-set.js';
import { KeysUnavailableError } from './principal.js';

export interface KeySetUrlSettings {
  /** Milliseconds for one request of the set. */
  readonly timeoutMs: number;
  /** Milliseconds between two regular requests. */
  readonly maxAgeMs: number;
  /** Milliseconds between two attempts, however many tokens name a key that is not known. */
  readonly coolDownMs: number;
  /** The most bytes of a set. */
  readonly maxBytes: number;
}

export const defaultKeySetUrlSettings: KeySetUrlSettings = {
  timeoutMs: 5000,
  maxAgeMs: 10 * 60_000,
  coolDownMs: 30_000,
  maxBytes: 256 << 10,
};

export interface KeySetUrlListener {
  /** The keys have changed. */
  changed(): void;
  /** The request failed; the previous keys are kept. The message reveals no part of the URL. */
  failed(error: unknown): void;
}

/** A JWKS at a URL: requested at the start, every ten minutes, and when a token names an unknown key. */
export class KeySetUrl {
  readonly #url: string;
  readonly #listener: KeySetUrlListener;
  readonly #settings: KeySetUrlSettings;
  readonly #closed = new AbortController();
  #text: string | undefined;
  #keys: KeysById | undefined;
  #failure: unknown;
  #attempted = Number.NEGATIVE_INFINITY;
  #fetched = performance.now();
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(url: string, listener: KeySetUrlListener, settings = defaultKeySetUrlSettings) {
    this.#url = url;
    this.#listener = listener;
    this.#settings = settings;
  }

  /** Milliseconds since the set was last fetched; until it was, since it has been wanted. */
  get ageMs(): number {
    return performance.now() - this.#fetched;
  }

  /** Requests the set. Never rejects. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** The key of that id, `undefined` if the set does not have it. Rejects with a `KeysUnavailableError`. */
  async keyFor(id: string): Promise<JWK | undefined> {
    const known = this.#keys?.get(id);
    if (known !== undefined) return known;
    const isDue = performance.now() - this.#attempted >= this.#settings.coolDownMs;
    if (isDue || this.#refreshing !== undefined) await this.refresh();
    const key = this.#keys?.get(id);
    // The issuer may have it by now.
    if (key === undefined && this.#failure !== undefined) throw new KeysUnavailableError(this.#failure);
    return key;
  }

  close(): void {
    this.#closed.abort();
    clearTimeout(this.#timer);
  }

  async #refresh(): Promise<void> {
    clearTimeout(this.#timer);
    this.#attempted = performance.now();
    try {
      const text = await this.#read();
      if (text !== this.#text) this.#keys = keysOfSet(text);
      this.#failure = undefined;
      this.#fetched = performance.now();
      if (text !== this.#text) {
        this.#text = text;
        this.#listener.changed();
      }
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      this.#failure = error;
      this.#listener.failed(error);
    }
    if (this.#closed.signal.aborted) return;
    const { maxAgeMs, coolDownMs } = this.#settings;
    this.#timer = setTimeout(() => void this.refresh(), this.#failure === undefined ? maxAgeMs : coolDownMs);
    this.#timer.unref();
  }

  async #read(): Promise<string> {
    const { timeoutMs, maxBytes } = this.#settings;
    const response = await fetch(this.#url, {
      // A redirect could lead to somebody else's keys.
      redirect: 'error',
      headers: { accept: 'application/jwk-set+json, application/json' },
      signal: AbortSignal.any([this.#closed.signal, AbortSignal.timeout(timeoutMs)]),
    });
    const { status, body } = response;
    if (status !== 200 || body === null) {
      await body?.cancel();
      throw new Error(`the answer is ${status}`);
    }
    const pieces: Uint8Array[] = [];
    let length = 0;
    // Leaving the loop cancels the body.
    for await (const piece of body) {
      length += piece.length;
      if (length > maxBytes) throw new Error(`the set is larger than ${maxBytes} bytes`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString();
  }
}
