/**
 * What the process takes on at once. Beyond it a call is refused before
 * anything is done for it: late answers to everybody help nobody. Health and
 * reflection are not counted, so they are never refused.
 */

import type { RefusalReason } from './call-observer.js';
import { maxDigests } from './request.js';

export interface AdmissionLimits {
  /** Fetches at once. */
  readonly maxStreams: number;
  /** Unary calls at once, by weight. */
  readonly maxInflight: number;
  /** Bytes held of requests that arrive in more than one piece and are not whole. */
  readonly maxRequestBytes: number;
}

/** Digests of a FindMissing that weigh as much as another call. */
const digestsPerWeight = 16;

/** The weight of a FindMissing over so many digests; every other call weighs 1. */
export function findMissingWeight(digests: number): number {
  // What has too many is refused for that, and at once.
  return 1 + Math.floor(Math.min(digests, maxDigests) / digestsPerWeight);
}

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #onRefused: (reason: RefusalReason) => void;
  #streams = 0;
  #inflight = 0;
  #requestBytes = 0;

  constructor(limits: AdmissionLimits, onRefused: (reason: RefusalReason) => void) {
    this.#limits = limits;
    this.#onRefused = onRefused;
  }

  /** Fetches that are taken up now. */
  get streams(): number {
    return this.#streams;
  }

  /** Whether the lightest unary call would be refused now; if so it is counted as refused. */
  refusesCall(): boolean {
    return this.#inflight >= this.#limits.maxInflight && this.#refuse('inflight');
  }

  /** Whether a Fetch would be refused now; if so it is counted as refused. */
  refusesStream(): boolean {
    return this.#streams >= this.#limits.maxStreams && this.#refuse('streams');
  }

  /** Takes up a unary call, or says `false`. One that weighs more than the limit is taken up alone. */
  enterCall(weight: number): boolean {
    const sum = this.#inflight + weight;
    if (sum > this.#limits.maxInflight && this.#inflight > 0) return !this.#refuse('inflight');
    this.#inflight = sum;
    return true;
  }

  /** The call has its answer. */
  leaveCall(weight: number): void {
    this.#inflight -= weight;
  }

  /** Takes up a Fetch, or says `false`. */
  enterStream(): boolean {
    if (this.refusesStream()) return false;
    this.#streams += 1;
    return true;
  }

  /** The Fetch is over. */
  leaveStream(): void {
    this.#streams -= 1;
  }

  /** Takes up so many bytes of a request, or says `false`. */
  receive(bytes: number): boolean {
    const sum = this.#requestBytes + bytes;
    if (sum > this.#limits.maxRequestBytes) return !this.#refuse('request_bytes');
    this.#requestBytes = sum;
    return true;
  }

  /** So many bytes that were taken up are held no more. */
  release(bytes: number): void {
    this.#requestBytes -= bytes;
  }

  #refuse(reason: RefusalReason): true {
    this.#onRefused(reason);
    return true;
  }
}
