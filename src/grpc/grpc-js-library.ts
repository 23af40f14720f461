import type { GrpcJsTransport, GrpcJsTransportParts } from './grpc-js-transport.js';

/**
 * The transport of grpc-js, loaded when it is first needed. With `direct` that
 * is a client's first question about health or reflection; until then an idle
 * server does without a sixth of its memory.
 */
export class GrpcJsLibrary {
  readonly #parts: GrpcJsTransportParts;
  #loading: Promise<GrpcJsTransport> | undefined;
  #transport: GrpcJsTransport | undefined;
  #isClosed = false;

  constructor(parts: GrpcJsTransportParts) {
    this.#parts = parts;
  }

  /** The transport, once it has been loaded. */
  get transport(): GrpcJsTransport | undefined {
    return this.#transport;
  }

  /** Rejects when its files cannot be read; the next call tries again. */
  load(): Promise<GrpcJsTransport> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  close(): void {
    this.#isClosed = true;
    this.#transport?.close();
  }

  async #load(): Promise<GrpcJsTransport> {
    const { GrpcJsTransport } = await import('./grpc-js-transport.js');
    const transport = new GrpcJsTransport(this.#parts);
    if (this.#isClosed) transport.close();
    this.#transport = transport;
    return transport;
  }
}
