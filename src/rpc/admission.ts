/**
 * Admission control: limits on concurrent work. Beyond them a call is refused
 * before any work, since answers that are too late help no client. Health and
 * reflection are not counted, so they are never refused.
 */

import type { RequestGate } from '../grpc/transport.js';
import type { RefusalReason } from './call-observer.js';
import { maxDigests } from './request.js';
import { overloaded } from './status.js';

export interface AdmissionLimits {
  /** Fetches at once. */
  readonly maxStreams: number;
  /** Unary calls at once, by weight. */
  readonly maxInflight: number;
  /** Bytes of incomplete requests that arrive in more than one piece. */
  readonly maxRequestBytes: number;
}

/** Digests of a FindMissing that weigh as much as another call. */
const digestsPerWeight = 16;

/** The weight of a FindMissing over that many digests; every other call weighs 1. */
export function findMissingWeight(digests: number): number {
  // A request with too many digests is refused for that, at once.
  return 1 + Math.floor(Math.min(digests, maxDigests) / digestsPerWeight);
}

export class Admission implements RequestGate {
  readonly overloaded = overloaded;
  readonly #limits: AdmissionLimits;
  readonly #onRefused: (reason: RefusalReason) => void;
  #streams = 0;
  #inflight = 0;
  #requestBytes = 0;

  constructor(limits: AdmissionLimits, onRefused: (reason: RefusalReason) => void) {
    this.#limits = limits;
    this.#onRefused = onRefused;
  }

  /** Fetches in progress. */
  get streams(): number {
    return this.#streams;
  }

  /** Whether a Fetch, or the lightest unary call, would be refused now; if so it is counted as refused. */
  refuses(streams: boolean): boolean {
    return streams
      ? this.#streams >= this.#limits.maxStreams && this.#refuse('streams')
      : this.#inflight >= this.#limits.maxInflight && this.#refuse('inflight');
  }

  /** Admits a unary call, or returns `false`. One that weighs more than the limit is admitted alone. */
  enterCall(weight: number): boolean {
    const sum = this.#inflight + weight;
    if (sum > this.#limits.maxInflight && this.#inflight > 0) return !this.#refuse('inflight');
    this.#inflight = sum;
    return true;
  }

  /** The call has been answered. */
  leaveCall(weight: number): void {
    this.#inflight -= weight;
  }

  /** Admits a Fetch, or returns `false`. */
  enterStream(): boolean {
    if (this.refuses(true)) return false;
    this.#streams += 1;
    return true;
  }

  /** The Fetch has ended. */
  leaveStream(): void {
    this.#streams -= 1;
  }

  /** Counts these bytes of a request, or returns `false`. */
  receive(bytes: number): boolean {
    const sum = this.#requestBytes + bytes;
    if (sum > this.#limits.maxRequestBytes) return !this.#refuse('request_bytes');
    this.#requestBytes = sum;
    return true;
  }

  /** So many counted bytes have been released. */
  release(bytes: number): void {
    this.#requestBytes -= bytes;
  }

  #refuse(reason: RefusalReason): true {
    this.#onRefused(reason);
    return true;
  }
}
