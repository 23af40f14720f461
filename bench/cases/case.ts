import type { Bench } from '../bench.ts';
import type { Requirement } from '../packages.ts';
import type { Report } from '../series.ts';

/** One question with its answer in figures. */
export interface Case {
  /** For `--only`. */
  readonly name: string;
  readonly title: string;
  /** Peers that cannot be had are left out. */
  readonly needs: readonly Requirement[];
  /** Whether it fetches layers of 256 MiB. */
  readonly large?: boolean;
  /** Whether it fetches layers of many sizes. */
  readonly mixed?: boolean;
  /** Runs only when it is named: it takes long, needs much, or says nothing of the server. */
  readonly onlyByName?: boolean;
  run(bench: Bench): Promise<Report>;
}
