/** The messages between the supervisor and its workers. */
import type { Config } from '../cli/options.js';
import type { Diagnosis, DiagnosisResult } from '../telemetry/diagnostics.js';
import type { DebugVars } from '../telemetry/domain-observer.js';
import type { FamilyReport } from '../telemetry/metric-report.js';
import type { ReadinessState } from '../telemetry/readiness.js';
import type { RecentError } from '../telemetry/recent-errors.js';

/** The metrics of one process. */
export interface ProcessReport {
  readonly metrics: readonly FamilyReport[];
  readonly vars: DebugVars;
  readonly errors: readonly RecentError[];
}

/** What a connection was accepted for. */
export type ServiceName = 'grpc' | 'notifications';

/** The first message to a worker. */
export interface StartMessage {
  readonly type: 'start';
  readonly config: Config;
  readonly version: string;
  readonly worker: number;
}

export type ToWorker =
  | StartMessage
  /** Asks for a report, which also shows that the worker is alive. */
  | { readonly type: 'poll'; readonly poll: number }
  /** Carries a connection, which the worker takes or refuses before it gets another. */
  | { readonly type: 'connection'; readonly service: ServiceName }
  /** Asks for a profile or a heap snapshot. */
  | { readonly type: 'diagnose'; readonly request: number; readonly diagnosis: Diagnosis }
  /** Whether some worker is ready. */
  | { readonly type: 'others'; readonly ready: boolean }
  | { readonly type: 'drain' }
  | { readonly type: 'cut' };

export type ToSupervisor =
  /** The worker can take connections. */
  | {
      readonly type: 'up';
      /** Its cache and its storage as logs may name them. */
      readonly described: { readonly cache: string; readonly storage: string };
      readonly state: ReadinessState;
    }
  /** It cannot start and ends; without a line it has logged why. */
  | { readonly type: 'failed'; readonly code: 1 | 2; readonly line: string | undefined }
  | { readonly type: 'readiness'; readonly state: ReadinessState }
  /** Answers a poll; without a report while it starts. The last one is sent without a poll. */
  | { readonly type: 'report'; readonly poll?: number; readonly report: ProcessReport | undefined }
  | { readonly type: 'diagnosed'; readonly request: number; readonly result: DiagnosisResult }
  | { readonly type: 'taken' }
  | { readonly type: 'refused' };
