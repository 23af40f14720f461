/** What can be said of an error of the S3 client without its fields, which tell what was signed and how. */
export interface Refusal {
  /** The HTTP status, `undefined` when nothing was answered. */
  readonly status: number | undefined;
  /** S3's own code, or the system's (`ECONNREFUSED`). */
  readonly code: string;
}

export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof Error)) return { status: undefined, code: 'unknown error' };
  const { $metadata, code } = error as Error & {
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly code?: unknown;
  };
  const status = $metadata?.httpStatusCode;
  // Where there was no answer the name of the error says less than the system's code.
  return { status, code: status === undefined && typeof code === 'string' ? code : error.name };
}
