/** What the primary and its workers say to one another. */
import type { Config } from '../cli/options.js';
import type { DebugVars } from '../telemetry/domain-observer.js';
import type { FamilyReport } from '../telemetry/ledger-report.js';
import type { ReadinessState } from '../telemetry/readiness.js';

/** The numbers of one process. */
export interface ProcessReport {
  readonly metrics: readonly FamilyReport[];
  readonly vars: DebugVars;
}

/** The first message: what to be. */
export interface StartMessage {
  readonly type: 'start';
  readonly config: Config;
  readonly version: string;
  readonly worker: number;
}

export type ToWorker =
  | StartMessage
  /** Asks for a report, and whether anybody is alive. */
  | { readonly type: 'poll'; readonly poll: number }
  /** Comes with a connection, which is to be taken or refused before the next one comes. */
  | { readonly type: 'connection' }
  /** Whether some worker is ready. */
  | { readonly type: 'others'; readonly ready: boolean }
  | { readonly type: 'drain' }
  | { readonly type: 'cut' };

export type ToPrimary =
  /** Connections may come. */
  | {
      readonly type: 'up';
      /** Its cache and its storage as logs may name them. */
      readonly described: { readonly cache: string; readonly storage: string };
      readonly state: ReadinessState;
    }
  /** It cannot start, and ends; without a line it has logged why. */
  | { readonly type: 'failed'; readonly code: 1 | 2; readonly line: string | undefined }
  | { readonly type: 'readiness'; readonly state: ReadinessState }
  /** Answers a poll; without a report while it starts. The last one answers none. */
  | { readonly type: 'report'; readonly poll?: number; readonly report: ProcessReport | undefined }
  | { readonly type: 'taken' }
  | { readonly type: 'refused' };
