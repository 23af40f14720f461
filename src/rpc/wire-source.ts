import { Source as WireSource } from '../gen/messages/layercache/v1/layer_cache.js';
import type { Source } from '../layer/layer-service.js';

/** Where an answer came from, as the proto's enum. */
export function wireSource(source: Source): WireSource {
  return source === 'cache' ? WireSource.SOURCE_CACHE : WireSource.SOURCE_UPSTREAM;
}
