/**
 * The streams of a connection that were closed last, and how: what a frame on a
 * closed stream means depends on it (RFC 9113, 5.1). Bounded; what is forgotten
 * was closed long ago.
 */
const remembered = 256;

/** `reset`: by us, so frames that the peer sent before it heard of that may follow. */
export type Closing = 'ended' | 'reset';

export class ClosedStreams {
  readonly #ids = new Int32Array(remembered);
  readonly #resets = new Uint8Array(remembered);
  #next = 0;

  add(streamId: number, how: Closing): void {
    this.#ids[this.#next] = streamId;
    this.#resets[this.#next] = how === 'reset' ? 1 : 0;
    this.#next = (this.#next + 1) % remembered;
  }

  /** How that stream was closed; `undefined` when it was never open or is forgotten. */
  of(streamId: number): Closing | undefined {
    const at = this.#ids.indexOf(streamId);
    if (at < 0) return undefined;
    return this.#resets[at] === 1 ? 'reset' : 'ended';
  }
}
