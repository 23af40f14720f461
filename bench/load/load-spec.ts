/** The input and the output of the load generator; JSON between two processes. */

/** What every answer must be; the first that is not ends the run. */
export type Expectation =
  /** Success, whatever it says: to warm up. */
  | { readonly kind: 'any' }
  /** A unary gRPC answer of exactly that message, grpc-status 0: one for all requests, or one for each. */
  | { readonly kind: 'message'; readonly base64: readonly string[] }
  /** A Fetch: a header and chunks of that many bytes in all, grpc-status 0. */
  | { readonly kind: 'layer'; readonly bytes: number }
  /** A plain HTTP answer with status 404, to a HEAD. */
  | { readonly kind: 'absent' }
  /** A plain HTTP answer with status 200 and a body of that many bytes. */
  | { readonly kind: 'body'; readonly bytes: number };

export interface LoadSpec extends CallMix {
  readonly protocol: 'grpc' | 'http2' | 'http1';
  /** On 127.0.0.1. */
  readonly port: number;
  /** The file of a PEM certificate that the server's must be signed by: over TLS, if it is given. Not for `http1`. */
  readonly caFile?: string;
  readonly connections: number;
  /** Calls in flight on each connection; `http1` has one. */
  readonly streams: number;
  /** Ends by time, or by number of calls. */
  readonly seconds?: number;
  readonly calls?: number;
  /** Calls a second, sent when due whether or not others are answered; else each answer brings the next call. */
  readonly rate?: number;
}

/** What is called. */
export interface CallMix {
  /** `http1` has one. */
  readonly kinds: readonly CallKind[];
  /** The kind of each call, in turn. */
  readonly cycle: readonly number[];
}

export interface CallKind {
  /** The gRPC method's path; the connections of `http2` have these in turn; `http1` has its paths in `requests`. */
  readonly paths: readonly string[];
  /** A file of requests, taken in turn: each a big-endian u32 length and that many bytes (message, or `http1` text). */
  readonly requests: string;
  readonly expect: Expectation;
}

export interface LoadResult {
  /** All that were made. */
  readonly calls: number;
  /** From the first request to the last answer. */
  readonly seconds: number;
  /** Of layers or bodies. */
  readonly bytes: number;
  /** Calls a second once connections and compilers are warm: a load by time is not counted in its first 0.4 s, or its first quarter. */
  readonly rate: number;
  /** Microseconds from request to whole answer. */
  readonly p50: number;
  readonly p99: number;
  /** Share of one core that the generator itself used: near 1 it was the limit. */
  readonly cpu: number;
}
