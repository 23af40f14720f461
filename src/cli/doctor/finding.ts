/** One thing that was looked at: how it is, why, and what to do about it. */
export interface Finding {
  readonly status: 'ok' | 'warn' | 'fail';
  /** What was looked at, in a word or two. */
  readonly what: string;
  /** How it is; no sentence's end. */
  readonly cause: string;
  /** What to do, a sentence; nothing where all is well. */
  readonly advice?: string;
}

export function ok(what: string, cause: string): Finding {
  return { status: 'ok', what, cause };
}

export function warn(what: string, cause: string, advice: string): Finding {
  return { status: 'warn', what, cause, advice };
}

export function fail(what: string, cause: string, advice: string): Finding {
  return { status: 'fail', what, cause, advice };
}

/** As a line for people. */
export function findingLine({ status, what, cause, advice }: Finding): string {
  const end = advice === undefined ? '' : `. ${advice}`;
  // What others say may end like a sentence.
  return `${status.padEnd(4)}  ${what}: ${cause.replace(/\.$/, '')}${end}`.replaceAll(/\s*\n\s*/g, ' ');
}
