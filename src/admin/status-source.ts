/** What the status page tells of a server, one process or several. */
import type { FamilyReport } from '../telemetry/metric-report.js';
import type { ReadinessState } from '../telemetry/readiness.js';
import type { RecentError } from '../telemetry/recent-errors.js';

/** An option as it is in force, without its secrets. */
export interface Setting {
  readonly name: string;
  readonly value: string;
}

/** One of several processes. */
export interface WorkerStatus {
  readonly number: number;
  readonly pid: number | undefined;
  /** `undefined` until it is up. */
  readonly state: ReadinessState | undefined;
  readonly numbers: readonly FamilyReport[];
}

export interface StatusSource {
  readonly version: string;
  readonly settings: readonly Setting[];
  /** The cache and the storage as logs may name them. */
  readonly described: { readonly cache: string; readonly storage: string };
  /** The numbers of all processes together. */
  numbers(): readonly FamilyReport[];
  errors(): readonly RecentError[];
  /** Each process, where there are several. */
  workers(): readonly WorkerStatus[];
}
