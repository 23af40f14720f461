/** How the parts of the domain belong together: the two services over one cache and one driver. */
import type { LayerInfoCache } from '../cache/layer-info-cache.js';
import type { StorageDriver } from '../storage/storage-driver.js';
import { BlobHashings } from './blob-hashings.js';
import { CachedLayerService } from './cached-layer-service.js';
import { Doubts } from './doubts.js';
import { EventCount } from './event-count.js';
import { Evictor } from './evictor.js';
import { Fences } from './fences.js';
import { Flights } from './flights.js';
import { LayerInfoService } from './layer-info-service.js';
import type { LayerService } from './layer-service.js';
import { LookupPlaces } from './lookup-places.js';
import { MissingLayers } from './missing-layers.js';
import type { Observer } from './observer.js';
import { Redirects } from './redirects.js';
import { Revalidation } from './revalidation.js';
import { Servings } from './servings.js';
import { Sightings } from './sightings.js';
import { SmallLayers } from './small-layers.js';
import { UpstreamLayerService } from './upstream-layer-service.js';
import { Verdicts } from './verdicts.js';
import { Verification, type VerifyMode } from './verification.js';
import { WriteBack } from './write-back.js';

/** Upstream lookups at once in the process (rule 16). */
const lookupsAtOnce = 64;
/** Layers whose last sighting in storage is remembered (rule 15). */
const maxSightings = 200_000;

export interface LayerServicesOptions {
  readonly cache: LayerInfoCache;
  readonly driver: StorageDriver;
  /** Whom a miss asks; the driver's own layers unless given. */
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
  const fences = new Fences();
  const doubts = new Doubts();
  const events = new EventCount();
  const verdicts = new Verdicts(events);
  const sightings = new Sightings(maxSightings);
  const evictor = new Evictor(cache, fences, doubts, sightings, observer);
  const writeBack = new WriteBack(cache, driver, verdicts, observer);
  const places = new LookupPlaces(lookupsAtOnce, storageTimeoutMs);
  const flights = new Flights({
    upstream,
    places,
    fences,
    doubts,
    sightings,
    writeBack,
    events,
    timeoutMs: storageTimeoutMs,
  });
  // Whoever wants every serving hashed wants it of what the storage holds now.
  const smallLayers = new SmallLayers(options.verify === 'always' ? 0 : options.smallLayersBytes);
  const verification = new Verification({
    mode: options.verify,
    verdicts,
    cache,
    evictor,
    fences,
    observer,
    smallLayers,
  });
  const hashings = new BlobHashings(driver, verification, events);
  const servings = new Servings({
    driver,
    upstream,
    verification,
    hashings,
    verdicts,
    smallLayers,
    events,
  });
  const redirects = new Redirects(driver, verdicts);
  const revalidation = new Revalidation({
    afterMs: options.revalidateAfterMs,
    sightings,
    flights,
    evictor,
    observer,
  });
  const shared = { cache, flights, evictor, doubts, sightings, observer };
  const missing = new MissingLayers({ ...shared, revalidation });
  return {
    layers: new CachedLayerService({ ...shared, missing, servings, redirects, verdicts, revalidation }),
    info: new LayerInfoService({ ...shared, driver, fences, verdicts }),
    close: () => {
      revalidation.close();
      hashings.close();
    },
  };
}
