/**
 * The metrics of this process. The SDK's instruments sort and stringify their
 * attributes at every measurement, which was the top function of the profile;
 * here the measuring code holds its series and adds to a plain number, and the
 * series become OpenTelemetry data only when they are read
 * (`registry-producer.ts`).
 */

/** The labels of one series of a family; values come from closed sets, so the number of series is bounded. */
export type Labels = Readonly<Record<string, string>>;

/** A sum of one series. */
export class Sum {
  value = 0;
  constructor(readonly labels: Labels) {}
}

/** A distribution of one series: `counts[i]` holds what is at most `boundaries[i]`, the last one the rest. */
export class Histogram {
  readonly counts: number[];
  count = 0;
  sum = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;

  constructor(
    readonly labels: Labels,
    readonly boundaries: readonly number[],
  ) {
    this.counts = new Array<number>(boundaries.length + 1).fill(0);
  }

  record(value: number): void {
    // There are few buckets and the common values come first: a linear scan beats a binary search.
    let bucket = 0;
    while (bucket < this.boundaries.length && value > (this.boundaries[bucket] as number)) bucket++;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.count++;
    this.sum += value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }
}

/** A name with what it means. `unit` is UCUM: `s`, `By`, `{request}`, or empty. */
export interface Description {
  readonly name: string;
  readonly unit: string;
  readonly help: string;
}

/**
 * `counter` only grows, `level` rises and falls; both are summed over
 * processes. The others take the least or the greatest value of any process.
 */
export type SumKind = 'counter' | 'level' | 'least' | 'most';

/** One number that is read on demand. */
export interface Reading {
  readonly labels: Labels;
  readonly value: number;
}

/** A family that is read on demand. */
export interface Readings extends Description {
  readonly kind: SumKind;
  readonly read: () => Iterable<Reading>;
}

/** A histogram family. */
export interface Histograms extends Description {
  readonly kind: 'histogram';
  readonly series: Iterable<Histogram>;
}

/** The most series of one family; further ones share one series, labelled `_OTHER`. */
const maxSeries = 1000;

/** Creates the series of one family; the same labels give the same series. */
class SeriesOf<S> {
  readonly #made = new Map<string, S>();
  readonly #make: (labels: Labels) => S;

  constructor(make: (labels: Labels) => S) {
    this.#make = make;
  }

  values(): Iterable<S> {
    return this.#made.values();
  }

  /** Slow: call it once per series and keep the result. */
  of(labels: Labels): S {
    const bounded = this.#made.size < maxSeries ? labels : overflowing(labels);
    const key = JSON.stringify(Object.entries(bounded).sort(([a], [b]) => (a < b ? -1 : 1)));
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = this.#make(bounded);
    this.#made.set(key, made);
    return made;
  }
}

function overflowing(labels: Labels): Labels {
  return Object.fromEntries(Object.keys(labels).map((key) => [key, '_OTHER']));
}

/** A family of sums or of histograms: creates its series. */
export interface Family<S> {
  of(labels: Labels): S;
}

/** All families, in the order in which they were declared. */
export class MetricRegistry {
  readonly #families: (Readings | Histograms)[] = [];

  get families(): readonly (Readings | Histograms)[] {
    return this.#families;
  }

  /** Sums that the measuring code adds to. */
  sums(kind: SumKind, description: Description): Family<Sum> {
    const series = new SeriesOf((labels) => new Sum(labels));
    this.#families.push({ ...description, kind, read: () => series.values() });
    return series;
  }

  /** Values in `description.unit`; `boundaries` are inclusive upper bounds, rising. */
  histograms(description: Description, boundaries: readonly number[]): Family<Histogram> {
    const series = new SeriesOf((labels) => new Histogram(labels, boundaries));
    this.#families.push({
      ...description,
      kind: 'histogram',
      series: { [Symbol.iterator]: () => series.values()[Symbol.iterator]() },
    });
    return series;
  }

  /** Numbers that are kept elsewhere and read on demand. */
  readings(kind: SumKind, description: Description, read: () => Iterable<Reading>): void {
    this.#families.push({ ...description, kind, read });
  }
}
