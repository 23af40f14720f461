/**
 * What the RPC edge reports of each call while it runs. Telemetry implements it
 * (span, metrics, log line); implementations must not throw.
 */
import type { Source } from '../layer/layer-service.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';

/** The limit that was exceeded; `preface`: a connection's preface took too long. */
export type RefusalReason = 'streams' | 'inflight' | 'request_bytes' | 'connections' | 'preface';

export interface CallObserver {
  /**
   * A call arrived. `method` is the RPC's name (`Exists`); `header` gives the
   * values of a request metadata key, for the trace context.
   */
  began(method: string, header: (key: string) => readonly string[]): ObservedCall;
  /** A call or a connection was refused; nothing else is reported of it. */
  refused(reason: RefusalReason): void;
}

/** One call. The handler sets the fields as it learns them; only values that passed the grammar get here. */
export interface ObservedCall {
  repository: RepositoryName | undefined;
  digest: Digest | undefined;
  source: Source | undefined;
  /** Runs `work` with the call's span as the parent of the spans inside. */
  run<T>(work: () => T): T;
  /** The transport has taken bytes of a layer. */
  sent(bytes: number): void;
  /**
   * The call has ended, streams included; called exactly once. `code` is the
   * status by name (`OK`, `NOT_FOUND`); `error` what was thrown, if anything.
   */
  ended(code: string, error: unknown): void;
}
