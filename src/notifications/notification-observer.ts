import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';

/** The actions that registries tell of, and all others. */
export const actions = ['push', 'mount', 'delete', 'pull', 'other'] as const;
export type Action = (typeof actions)[number];

/** `recorded`: storage has what the event tells of; `removed`: it has not; `void`: there was nothing to do. */
export type EventResult = 'recorded' | 'removed' | 'void';

/** What an event is about. */
export interface EventTarget {
  readonly repository: RepositoryName;
  readonly digest: Digest;
}

/** What the endpoint tells of its work; telemetry implements it, and must not throw. */
export interface NotificationObserver {
  /** An event was carried out. `target`: unless it is one to which nothing is done. */
  handled(action: Action, result: EventResult, target: EventTarget | undefined): void;
  /** An event could not be carried out, and the registry is to send it again. */
  failed(action: Action, error: unknown): void;
  /** A request was no envelope of a registry that may send one. */
  refused(status: number): void;
}
