/**
 * The numbers of this process. The SDK's instruments sort and stringify their
 * attributes at every measurement, which was the top function of the profile;
 * here whoever measures holds its series and adds to a plain number, and the
 * series become OpenTelemetry data only when somebody reads them
 * (`ledger-producer.ts`).
 */

/** What tells the series of a family apart; a closed set of values, so that the number of series is bounded. */
export type Labels = Readonly<Record<string, string>>;

/** A sum of one series. */
export class Tally {
  value = 0;
  constructor(readonly labels: Labels) {}
}

/** A distribution of one series: `counts[i]` holds what is at most `boundaries[i]`, the last one the rest. */
export class Distribution {
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
    // The common values lie at the front, and there are few: walking beats a binary search.
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
 * processes. Of the others the `least` or the `most` of a process stands for all.
 */
export type SumKind = 'counter' | 'level' | 'least' | 'most';

/** One number that is read when somebody asks. */
export interface Reading {
  readonly labels: Labels;
  readonly value: number;
}

/** A family that is read when somebody asks. */
export interface Readings extends Description {
  readonly kind: SumKind;
  readonly read: () => Iterable<Reading>;
}

/** A histogram family. */
export interface Distributions extends Description {
  readonly kind: 'histogram';
  readonly series: Iterable<Distribution>;
}

/** Most series of one family; what comes after shares one series, labelled `_OTHER`. */
const maxSeries = 1000;

/** Makes the series of one family; a series asked for twice is the same. */
class SeriesOf<S> {
  readonly #made = new Map<string, S>();
  readonly #make: (labels: Labels) => S;

  constructor(make: (labels: Labels) => S) {
    this.#make = make;
  }

  values(): Iterable<S> {
    return this.#made.values();
  }

  /** Slow: call it once per series and keep what it gives. */
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

/** A family of sums, or of distributions: where its series are made. */
export interface Family<S> {
  of(labels: Labels): S;
}

/** All families, in the order in which they were declared. */
export class Ledger {
  readonly #families: (Readings | Distributions)[] = [];

  get families(): readonly (Readings | Distributions)[] {
    return this.#families;
  }

  /** Sums that are added to where something happens. */
  sums(kind: SumKind, description: Description): Family<Tally> {
    const series = new SeriesOf((labels) => new Tally(labels));
    this.#families.push({ ...description, kind, read: () => series.values() });
    return series;
  }

  /** Values in `description.unit`; `boundaries` are inclusive upper bounds, rising. */
  distributions(description: Description, boundaries: readonly number[]): Family<Distribution> {
    const series = new SeriesOf((labels) => new Distribution(labels, boundaries));
    this.#families.push({
      ...description,
      kind: 'histogram',
      series: { [Symbol.iterator]: () => series.values()[Symbol.iterator]() },
    });
    return series;
  }

  /** Numbers that are somebody else's, read when somebody asks. */
  readings(kind: SumKind, description: Description, read: () => Iterable<Reading>): void {
    this.#families.push({ ...description, kind, read });
  }
}
