/**
 * Carries out events. Each is judged by storage as it is now, so it does not
 * matter that a registry repeats them, and that they come late or out of order.
 */
import { DataLossError } from '../layer/errors.js';
import type { LayerInfoService } from '../layer/layer-info-service.js';
import { type Digest, parseDigest } from '../reference/digest.js';
import type { Event } from './envelope.js';
import { parseManifest } from './manifest.js';
import type { ManifestReader } from './manifest-reader.js';
import type { EventResult, EventTarget } from './notification-observer.js';

export class EventHandler {
  readonly #info: Pick<LayerInfoService, 'reconcile'>;
  readonly #manifests: Pick<ManifestReader, 'read'>;

  constructor(info: Pick<LayerInfoService, 'reconcile'>, manifests: Pick<ManifestReader, 'read'>) {
    this.#info = info;
    this.#manifests = manifests;
  }

  /** Throws a `LayerError` when cache or storage cannot be asked now: the event is to be sent again. */
  async handle(event: Event, signal: AbortSignal): Promise<EventResult> {
    switch (event.kind) {
      case 'void':
        return 'void';
      case 'layer':
        return this.#layer(event.target, signal);
      case 'manifest':
        return this.#manifest(event.target, signal);
    }
  }

  async #layer({ repository, digest }: EventTarget, signal: AbortSignal): Promise<EventResult> {
    try {
      return (await this.#info.reconcile(repository, digest, signal)) ? 'recorded' : 'removed';
    } catch (error) {
      // What is damaged is not mended by asking again: the cache records nothing of it.
      if (error instanceof DataLossError) return 'void';
      throw error;
    }
  }

  async #manifest({ repository, digest }: EventTarget, signal: AbortSignal): Promise<EventResult> {
    const text = await this.#manifests.read(digest, signal);
    const digests = text === undefined ? [] : digestsIn(text);
    const results = await Promise.all(
      digests.map((each) => this.#layer({ repository, digest: each }, signal)),
    );
    return results.includes('recorded') ? 'recorded' : 'void';
  }
}

/** What a stored manifest names; none for an index, whose manifests have events of their own. */
function digestsIn(text: string): Digest[] {
  let blobs: readonly string[];
  try {
    blobs = parseManifest(text)?.blobs ?? [];
  } catch (error) {
    if (error instanceof SyntaxError) return []; // Whatever was pushed as a manifest names no layers.
    throw error;
  }
  return [...new Set(blobs.flatMap((blob) => parseDigest(blob) ?? []))];
}
