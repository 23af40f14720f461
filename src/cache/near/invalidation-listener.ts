/** Who keeps copies of what Redis says, and is told when they are no longer true. */
export interface InvalidationListener {
  /**
   * The channel is there: whatever was written before the moment `sentAt`, of
   * `performance.now()`, has been told. Told again and again while it lives.
   */
  heard(sentAt: number): void;

  /** Somebody has written that key, or it is gone. */
  invalidated(key: string): void;

  /** Every key may have been written: the database was emptied. */
  invalidatedAll(): void;

  /** The channel is gone: nothing is told until it is heard again. Told once or more. */
  lost(): void;
}
