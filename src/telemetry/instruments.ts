/** Every metric that the service measures itself, declared once: name, unit, meaning, buckets. */
import { METRIC_RPC_SERVER_CALL_DURATION } from '@opentelemetry/semantic-conventions';
import type { Family, Histogram, MetricRegistry, Sum } from './metric-registry.js';

// The semantic conventions' own bounds begin at 5 ms; a hit takes a tenth of
// one, and a stream may run for minutes.
const callSeconds = [
  0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
  60, 300,
];
const cacheSeconds = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];
const storageSeconds = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

export class Instruments {
  readonly callDuration: Family<Histogram>;
  readonly requests: Family<Sum>;
  readonly cacheDuration: Family<Histogram>;
  readonly storageDuration: Family<Histogram>;
  readonly fetchBytes: Sum;
  readonly fetchActive: Sum;
  readonly evictions: Family<Sum>;
  readonly revalidations: Family<Sum>;
  readonly rejections: Family<Sum>;
  readonly notifications: Family<Sum>;

  constructor(registry: MetricRegistry) {
    this.callDuration = registry.histograms(
      {
        name: METRIC_RPC_SERVER_CALL_DURATION,
        unit: 's',
        help: 'Duration of inbound calls, streams until their end.',
      },
      callSeconds,
    );
    this.requests = registry.sums('counter', {
      name: 'layercache.requests',
      unit: '{request}',
      help: 'Layer requests by operation and by whether the cache answered them.',
    });
    this.cacheDuration = registry.histograms(
      {
        name: 'layercache.cache.operation.duration',
        unit: 's',
        help: 'Duration of operations of the layer-info cache.',
      },
      cacheSeconds,
    );
    this.storageDuration = registry.histograms(
      { name: 'layercache.storage.operation.duration', unit: 's', help: 'Duration of storage operations.' },
      storageSeconds,
    );
    this.fetchBytes = registry
      .sums('counter', { name: 'layercache.fetch.bytes', unit: 'By', help: 'Bytes of layers sent.' })
      .of({});
    this.fetchActive = registry
      .sums('level', {
        name: 'layercache.fetch.active',
        unit: '{stream}',
        help: 'Fetch streams that are open now.',
      })
      .of({});
    this.evictions = registry.sums('counter', {
      name: 'layercache.evictions',
      unit: '{eviction}',
      help: 'Cache entries that turned out wrong and were evicted, by reason.',
    });
    this.revalidations = registry.sums('counter', {
      name: 'layercache.revalidations',
      unit: '{check}',
      help: 'Background checks of cached memberships against storage, by result.',
    });
    this.notifications = registry.sums('counter', {
      name: 'layercache.notifications',
      unit: '{event}',
      help: "Events of registries' notifications, by action and by what came of them.",
    });
    this.rejections = registry.sums('counter', {
      name: 'layercache.rejections',
      unit: '{rejection}',
      help: 'Calls and connections refused by admission control, by the limit that was exceeded.',
    });
  }
}
