/** Every metric that the product measures itself, declared once: name, unit, meaning, buckets. */
import { METRIC_RPC_SERVER_CALL_DURATION } from '@opentelemetry/semantic-conventions';
import type { Distribution, Family, Ledger, Tally } from './ledger.js';

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
  readonly callDuration: Family<Distribution>;
  readonly requests: Family<Tally>;
  readonly cacheDuration: Family<Distribution>;
  readonly storageDuration: Family<Distribution>;
  readonly fetchBytes: Tally;
  readonly fetchActive: Tally;
  readonly evictions: Family<Tally>;
  readonly revalidations: Family<Tally>;
  readonly rejections: Family<Tally>;

  constructor(ledger: Ledger) {
    this.callDuration = ledger.distributions(
      {
        name: METRIC_RPC_SERVER_CALL_DURATION,
        unit: 's',
        help: 'Duration of inbound calls, streams until their end.',
      },
      callSeconds,
    );
    this.requests = ledger.sums('counter', {
      name: 'layercache.requests',
      unit: '{request}',
      help: 'Questions by operation and whether the cache answered them.',
    });
    this.cacheDuration = ledger.distributions(
      {
        name: 'layercache.cache.operation.duration',
        unit: 's',
        help: 'Duration of operations of the layer-info cache.',
      },
      cacheSeconds,
    );
    this.storageDuration = ledger.distributions(
      { name: 'layercache.storage.operation.duration', unit: 's', help: 'Duration of storage operations.' },
      storageSeconds,
    );
    this.fetchBytes = ledger
      .sums('counter', { name: 'layercache.fetch.bytes', unit: 'By', help: 'Bytes of layers sent.' })
      .of({});
    this.fetchActive = ledger
      .sums('level', {
        name: 'layercache.fetch.active',
        unit: '{stream}',
        help: 'Fetch streams that are open now.',
      })
      .of({});
    this.evictions = ledger.sums('counter', {
      name: 'layercache.evictions',
      unit: '{eviction}',
      help: 'Cached facts that turned out wrong and were dropped, by reason.',
    });
    this.revalidations = ledger.sums('counter', {
      name: 'layercache.revalidations',
      unit: '{check}',
      help: 'Background checks of cached yeses against storage, by how they ended.',
    });
    this.rejections = ledger.sums('counter', {
      name: 'layercache.rejections',
      unit: '{rejection}',
      help: 'Calls and connections that were refused since there were too many, by what there was too much of.',
    });
  }
}
