/**
 * Readiness has one meaning, for the health RPC and for `/readyz`: not ready
 * until storage was first seen, and while draining. A later outage of cache or
 * storage is *degraded*: cached answers are still served.
 */

/** The state of one process, or of several combined. */
export interface ReadinessState {
  readonly ready: boolean;
  /** Ready, but the cache or the storage failed at its last operation. */
  readonly degraded: boolean;
  readonly storageSeen: boolean;
  readonly draining: boolean;
  readonly cacheUp: boolean;
  readonly storageUp: boolean;
  /** Where there are several. */
  readonly workers?: { readonly ready: number; readonly wanted: number };
}

export class Readiness {
  #storageSeen = false;
  #draining = false;
  #cacheUp = true;
  #storageUp = false;
  #cacheFailure: unknown;
  #storageFailure: unknown;
  readonly #listeners = new Set<(state: ReadinessState) => void>();

  get state(): ReadinessState {
    const ready = this.#storageSeen && !this.#draining;
    return {
      ready,
      degraded: ready && !(this.#cacheUp && this.#storageUp),
      storageSeen: this.#storageSeen,
      draining: this.#draining,
      cacheUp: this.#cacheUp,
      storageUp: this.#storageUp,
    };
  }

  get cacheUp(): boolean {
    return this.#cacheUp;
  }

  get storageUp(): boolean {
    return this.#storageUp;
  }

  /** What the last outage of the cache or the storage began with. */
  failureOf(plug: 'cache' | 'storage'): unknown {
    return plug === 'cache' ? this.#cacheFailure : this.#storageFailure;
  }

  /** The storage was seen and holds a registry: start-up waits for that. */
  storageWasSeen(): void {
    if (this.#storageSeen && this.#storageUp) return;
    this.#storageSeen = true;
    this.#storageUp = true;
    this.#tell();
  }

  /** The process accepts no new work, for good. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#tell();
  }

  /** How the last operation of the cache ended, and with which error. */
  cacheIs(up: boolean, error?: unknown): void {
    if (this.#cacheUp === up) return;
    this.#cacheUp = up;
    if (!up) this.#cacheFailure = error;
    this.#tell();
  }

  /** How the last operation of the storage ended, and with which error. */
  storageIs(up: boolean, error?: unknown): void {
    if (this.#storageUp === up) return;
    this.#storageUp = up;
    if (!up) this.#storageFailure = error;
    this.#tell();
  }

  /** Calls the listener after every change; returns how to remove it. A listener must not throw. */
  onChange(listener: (state: ReadinessState) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #tell(): void {
    const { state } = this;
    for (const listener of this.#listeners) listener(state);
  }
}
