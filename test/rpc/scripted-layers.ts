/** A layer service whose every answer the test writes, for faults and orders that no real storage gives on demand. */
import type { LayerReader, LayerStat, Presence, Source } from '../../src/layer/layer-service.js';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import type { LayerInfo, Layers } from '../../src/rpc/handlers.js';

export const repository = 'library/ubuntu';
export const digest: Digest = digestOf('sha256', 'a'.repeat(64));
export const otherDigest: Digest = digestOf('sha512', 'b'.repeat(128));

type Answer<Of, Method extends keyof Of> = Of[Method] extends (...asked: infer Asked) => infer Told
  ? (...asked: Asked) => Told
  : never;

export class ScriptedLayers implements Layers, LayerInfo {
  exists: Answer<Layers, 'exists'> = async (): Promise<Presence> => ({ exists: true, source: 'cache' });
  stat: Answer<Layers, 'stat'> = async (_repository, asked): Promise<LayerStat> => ({
    digest: asked,
    length: 42,
    source: 'upstream',
    blob: undefined,
  });
  findMissing: Answer<Layers, 'findMissing'> = async (_repository, digests) => [...digests];
  fetch: Answer<Layers, 'fetch'> = async () => new ScriptedLayer(Buffer.from('layer'));
  fetchOrRedirect: Answer<Layers, 'fetchOrRedirect'> = async () => new ScriptedLayer(Buffer.from('layer'));
  contains: Answer<LayerInfo, 'contains'> = async () => true;
  add: Answer<LayerInfo, 'add'> = async () => {};
  meta: Answer<LayerInfo, 'meta'> = async () => ({ path: '/a/path', length: 42 });
  setMeta: Answer<LayerInfo, 'setMeta'> = async () => {};
  remove: Answer<LayerInfo, 'remove'> = async () => {};
}

/** A layer of those bytes, which counts and may be told to wait, to lie or to fail. */
export class ScriptedLayer implements LayerReader {
  readonly digest = digest;
  readonly offset = 0;
  readonly source: Source = 'upstream';
  readonly length: number;
  promised: number;
  reads = 0;
  given = 0;
  closes = 0;
  /** Awaited before each read; what it throws the read throws. */
  beforeRead: (read: number, into: Uint8Array) => Promise<void> = async () => {};
  readonly closed: Promise<void>;
  readonly #bytes: Buffer;
  readonly #closed = Promise.withResolvers<void>();

  constructor(bytes: Buffer, promised = bytes.length) {
    this.#bytes = bytes;
    this.length = bytes.length;
    this.promised = promised;
    this.closed = this.#closed.promise;
  }

  async read(into: Uint8Array): Promise<number> {
    if (this.closes > 0) throw new Error('read after close');
    await this.beforeRead(this.reads++, into);
    const count = this.#bytes.copy(into, 0, this.given);
    this.given += count;
    return count;
  }

  async close(): Promise<void> {
    this.closes++;
    this.#closed.resolve();
  }
}
