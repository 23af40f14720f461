/** The bounded store of the near cache against the plainest store that does the same. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NearEntries } from '../../../src/cache/near/near-entries.js';

interface HeldLayer {
  readonly repository: string;
  readonly digest: string;
  readonly readAt: number;
  /** Which reading of the metadata it refers to. */
  readonly meta: HeldMeta | undefined;
}

interface HeldMeta {
  length: number;
  readAt: number;
}

/** An array in the order of use, searched from end to end. */
class PlainEntries {
  layers: HeldLayer[] = [];
  readonly metas = new Map<string, HeldMeta>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  use(repository: string, digest: string, since: number): HeldLayer | undefined {
    const layer = this.#find(repository, digest);
    if (layer === undefined || layer.readAt < since) return undefined;
    this.layers = [...this.layers.filter((other) => other !== layer), layer];
    return layer;
  }

  lengthIn(repository: string, digest: string, since: number): number | undefined {
    const meta = this.use(repository, digest, since)?.meta;
    return meta !== undefined && meta.readAt >= since ? meta.length : undefined;
  }

  length(digest: string, since: number): number | undefined {
    const meta = this.metas.get(digest);
    return meta !== undefined && meta.readAt >= since ? meta.length : undefined;
  }

  put(repository: string, digest: string, length: number | undefined, readAt: number): void {
    const found = this.#find(repository, digest);
    let meta = found?.meta;
    if (length !== undefined) {
      meta = this.metas.get(digest) ?? { length, readAt };
      Object.assign(meta, { length, readAt });
      this.metas.set(digest, meta);
    }
    const others = this.layers.filter((layer) => layer !== found);
    this.#keep([...others, { repository, digest, readAt, meta }].slice(-this.#max));
  }

  drop(repository: string, digest: string | undefined): void {
    this.#keep(
      this.layers.filter(
        (layer) => layer.repository !== repository || (digest !== undefined && layer.digest !== digest),
      ),
    );
  }

  dropLength(digest: string): void {
    const meta = this.metas.get(digest);
    if (meta !== undefined) meta.readAt = Number.NEGATIVE_INFINITY;
    this.metas.delete(digest);
  }

  clear(): void {
    this.#keep([]);
  }

  #find(repository: string, digest: string): HeldLayer | undefined {
    return this.layers.find((layer) => layer.repository === repository && layer.digest === digest);
  }

  #keep(layers: HeldLayer[]): void {
    this.layers = layers;
    for (const [digest, meta] of this.metas)
      if (!layers.some((layer) => layer.meta === meta)) this.metas.delete(digest);
  }
}

const repository = fc.constantFrom('r', 's');
const digest = fc.constantFrom('1', '2', '3');
const maxAge = fc.nat(20);
const step = fc.oneof(
  fc.record({ op: fc.constant('contains' as const), repository, digest, maxAge }),
  fc.record({ op: fc.constant('unknown' as const), repository, digests: fc.array(digest), maxAge }),
  fc.record({ op: fc.constant('lengthIn' as const), repository, digest, maxAge }),
  fc.record({ op: fc.constant('length' as const), digest, maxAge }),
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('put' as const),
      repository,
      digest,
      length: fc.option(fc.nat()),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('drop' as const), repository, digest }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('dropLength' as const), digest }) },
  fc.record({ op: fc.constant('sweep' as const), repository: fc.option(repository) }),
);

describe('the entries of a near cache', () => {
  it('are those of a plain list, whatever happens', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 80 }), (max, steps) => {
        const entries = new NearEntries(max);
        const plain = new PlainEntries(max);
        for (const [now, told] of steps.entries()) {
          const since = 'maxAge' in told ? now - told.maxAge : 0;
          switch (told.op) {
            case 'contains':
              expect(entries.contains(told.repository, told.digest, since)).toBe(
                plain.use(told.repository, told.digest, since) !== undefined,
              );
              break;
            case 'unknown': {
              const { digests } = told;
              const unknown = [...digests.keys()].filter(
                (index) => plain.use(told.repository, digests[index] ?? '', since) === undefined,
              );
              expect(entries.unknown(told.repository, digests, since)).toEqual(unknown);
              break;
            }
            case 'lengthIn':
              expect(entries.lengthIn(told.repository, told.digest, since)).toBe(
                plain.lengthIn(told.repository, told.digest, since),
              );
              break;
            case 'length':
              expect(entries.length(told.digest, since)).toBe(plain.length(told.digest, since));
              break;
            case 'put': {
              const length = told.length ?? undefined;
              entries.put(told.repository, told.digest, length, now);
              plain.put(told.repository, told.digest, length, now);
              break;
            }
            case 'drop':
              entries.drop(told.repository, told.digest);
              plain.drop(told.repository, told.digest);
              break;
            case 'dropLength':
              entries.dropLength(told.digest);
              plain.dropLength(told.digest);
              break;
            case 'sweep':
              if (told.repository === null) {
                entries.clear();
                plain.clear();
              } else {
                entries.dropRepository(told.repository);
                plain.drop(told.repository, undefined);
              }
          }
          expect(entries.size).toBe(plain.layers.length);
        }
        // Whatever is left is the same too.
        for (const name of ['r', 's'])
          for (const each of ['1', '2', '3'])
            expect(entries.lengthIn(name, each, 0)).toBe(plain.lengthIn(name, each, 0));
        for (const each of ['1', '2', '3']) expect(entries.length(each, 0)).toBe(plain.length(each, 0));
      }),
      { numRuns: 2_000 },
    );
  });

  it('leave nothing behind', () => {
    setFlagsFromString('--expose-gc');
    const gc: () => void = runInNewContext('gc');
    const entries = new NearEntries(10);
    const pass = (round: string) => {
      for (let index = 0; index < 50_000; index++) {
        const name = `${round}-${index}`;
        entries.put(name, name, index, 0);
        if (index % 3 === 0) entries.drop(name, name);
        if (index % 3 === 1) entries.dropLength(name);
      }
      gc();
      return process.memoryUsage().heapUsed;
    };
    const before = pass('warm');
    // Of 50,000 names alone there would be several megabytes.
    expect(pass('once more') - before).toBeLessThan(1_500_000);
  });
});
