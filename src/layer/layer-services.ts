/** How the parts of the domain belong together: its services over one cache and one driver. */
import type { LayerInfoCache } from '../cache/layer-info-cache.js';
import type { StorageDriver } from '../storage/storage-driver.js';
import { BlobHasher } from './blob-hasher.js';
import { CacheAccess } from './cache-access.js';
import { CachedLayerService } from './cached-layer-service.js';
import { LayerInfoService } from './layer-info-service.js';
import { LayerOpener } from './layer-opener.js';
import type { LayerService } from './layer-service.js';
import { LocalKnowledge } from './local-knowledge.js';
import { LookupLimiter } from './lookup-limiter.js';
import type { Observer } from './observer.js';
import { Revalidation } from './revalidation.js';
import { SharedLookups } from './shared-lookups.js';
import { SmallLayers } from './small-layers.js';
import { UpstreamLayerService } from './upstream-layer-service.js';
import { Verification, type VerifyMode } from './verification.js';

/** Upstream lookups at once in the process (rule 16). */
const maxLookups = 64;

export interface LayerServicesOptions {
  readonly cache: LayerInfoCache;
  readonly driver: StorageDriver;
  /** Asked on a miss; the driver's own layers unless given. */
  readonly upstream?: LayerService;
  readonly observer: Observer;
  readonly verify: VerifyMode;
  /** Bytes of memory for the bytes of small layers; 0 keeps none. */
  readonly smallLayersBytes: number;
  /** Milliseconds for a lookup as a whole, and for waiting while none ends. */
  readonly storageTimeoutMs: number;
  /** Milliseconds from which a cached yes is checked again in the background; 0 never does. */
  readonly revalidateAfterMs: number;
}

export interface LayerServices {
  readonly layers: CachedLayerService;
  readonly info: LayerInfoService;
  /** Ends background work; cache and driver stay the caller's to close. */
  close(): void;
}

export function layerServices(options: LayerServicesOptions): LayerServices {
  const { cache, driver, observer, storageTimeoutMs } = options;
  const upstream = options.upstream ?? new UpstreamLayerService(driver);
  const knowledge = new LocalKnowledge();
  const access = new CacheAccess(cache, driver, knowledge, observer);

  const limiter = new LookupLimiter(maxLookups, storageTimeoutMs);
  const lookups = new SharedLookups(upstream, limiter, access, knowledge, storageTimeoutMs);
  const revalidation = new Revalidation(options.revalidateAfterMs, lookups, knowledge, observer);

  // `--verify always` re-reads storage, so it keeps no small layers in memory.
  const smallLayers = new SmallLayers(options.verify === 'always' ? 0 : options.smallLayersBytes);
  const verification = new Verification(options.verify, access, knowledge, observer, smallLayers);
  const hasher = new BlobHasher(driver, verification, knowledge.clock);
  const opener = new LayerOpener(driver, upstream, verification, hasher, knowledge, smallLayers);

  return {
    layers: new CachedLayerService(access, lookups, opener, revalidation, knowledge, observer),
    info: new LayerInfoService(cache, driver, lookups, knowledge),
    close: () => {
      revalidation.close();
      hasher.close();
    },
  };
}
