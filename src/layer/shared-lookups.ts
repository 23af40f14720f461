/**
 * Rule 12, single-flight: a storage lookup for one layer of one repository is
 * shared by every call that misses while it runs, whichever RPC it is. For each
 * layer at most one lookup runs and one waits behind it: callers who may not
 * take the running one's answer share the next.
 */
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { StorageError } from '../storage/storage-driver.js';
import { abortable } from './abortable.js';
import type { CacheAccess, CacheAnswer } from './cache-access.js';
import { asLayerError, DataLossError, LayerUnknownError } from './errors.js';
import { type LayerService, type LayerStat, layerKey } from './layer-service.js';
import type { LocalKnowledge } from './local-knowledge.js';
import { type Caller, Lookup, type LookupOutcome } from './lookup.js';
import type { LookupLimiter } from './lookup-limiter.js';

/** What a caller wants of a lookup. */
export interface LookupRequest {
  readonly caller: Caller;
  /**
   * The earliest moment, in milliseconds of the monotonic clock, at which the
   * lookup behind a yes may have begun (rule 15): infinite when it must begin
   * after the call did, `undefined` when any will do.
   */
  readonly notBefore: number | undefined;
  /** What the caller's cache read gave. */
  readonly answer: CacheAnswer;
  readonly signal: AbortSignal;
  /** Evicts a membership that storage denied, in place of one command of its own. */
  readonly onAbsent: ((digest: Digest) => void) | undefined;
}

export interface LookupResult {
  /** `undefined`: the repository does not have the layer. */
  readonly layer: LayerStat | undefined;
  /** When the lookup began, on the logical clock. */
  readonly startedAt: number;
}

/** The lookups of one layer. */
interface LayerLookups {
  readonly key: string;
  running: Lookup | undefined;
  next: Lookup | undefined;
}

export class SharedLookups {
  readonly #upstream: LayerService;
  readonly #limiter: LookupLimiter;
  readonly #access: CacheAccess;
  readonly #knowledge: LocalKnowledge;
  readonly #timeoutMs: number;
  readonly #layers = new Map<string, LayerLookups>();

  /** `timeoutMs`: the deadline of one lookup as a whole (rule 16). */
  constructor(
    upstream: LayerService,
    limiter: LookupLimiter,
    access: CacheAccess,
    knowledge: LocalKnowledge,
    timeoutMs: number,
  ) {
    this.#upstream = upstream;
    this.#limiter = limiter;
    this.#access = access;
    this.#knowledge = knowledge;
    this.#timeoutMs = timeoutMs;
  }

  /** Looks the layer up in storage, alone or together with others. */
  async find(repository: RepositoryName, digest: Digest, request: LookupRequest): Promise<LookupResult> {
    for (;;) {
      request.signal.throwIfAborted();
      const lookup = this.#join(repository, digest, request);
      const outcome = await this.#wait(lookup, request);
      const wasThereFromTheStart = lookup.startedAt === 0 || lookup.startedAt > request.caller.at;
      if (outcome.kind === 'failed') {
        // Damage may have been mended, like a no by a push, before this call began.
        if (wasThereFromTheStart || !(outcome.error instanceof DataLossError)) throw outcome.error;
        continue;
      }
      if (outcome.layer !== undefined) return { layer: outcome.layer, startedAt: lookup.startedAt };
      if (lookup.claimEviction()) {
        if (request.onAbsent !== undefined) request.onAbsent(digest);
        else await this.#access.evictMemberships(repository, [digest], 'layer_unknown');
      }
      if (wasThereFromTheStart) return { layer: undefined, startedAt: lookup.startedAt };
    }
  }

  /** Joins the lookup whose answer this caller may take, or makes a new one. */
  #join(repository: RepositoryName, digest: Digest, request: LookupRequest): Lookup {
    const lookups = this.#lookupsOf(repository, digest);
    const { running, next } = lookups;
    if (running?.joinable && isYoungEnough(running, request)) {
      running.join(request.caller, request.answer);
      if (running.waiting) this.#limiter.enqueue(running, request.caller.queue);
      return running;
    }
    if (next?.joinable) {
      next.join(request.caller, request.answer);
      return next;
    }
    const lookup = new Lookup(
      repository,
      digest,
      this.#knowledge.leases,
      (started) => void this.#run(started),
    );
    lookup.join(request.caller, request.answer);
    void lookup.outcome.then(() => this.#remove(lookups, lookup));
    lookups.next = lookup;
    if (running === undefined) this.#promote(lookups);
    return lookup;
  }

  #lookupsOf(repository: RepositoryName, digest: Digest): LayerLookups {
    const key = layerKey(repository, digest);
    let lookups = this.#layers.get(key);
    if (lookups === undefined) {
      lookups = { key, running: undefined, next: undefined };
      this.#layers.set(key, lookups);
    }
    return lookups;
  }

  /** Promotes the waiting lookup and queues it for every caller. */
  #promote(lookups: LayerLookups): void {
    const lookup = lookups.next;
    lookups.running = lookup;
    lookups.next = undefined;
    if (lookup === undefined) {
      this.#layers.delete(lookups.key);
      return;
    }
    for (const caller of lookup.callers) {
      if (!lookup.waiting) return;
      this.#limiter.enqueue(lookup, caller.queue);
    }
  }

  #remove(lookups: LayerLookups, lookup: Lookup): void {
    if (lookups.next === lookup) lookups.next = undefined;
    if (lookups.running === lookup) this.#promote(lookups);
  }

  async #wait(lookup: Lookup, { caller, signal }: LookupRequest): Promise<LookupOutcome> {
    try {
      return await abortable(lookup.outcome, signal);
    } catch (error) {
      this.#limiter.drop(caller.queue);
      throw error;
    } finally {
      lookup.leave(caller);
    }
  }

  async #run(lookup: Lookup): Promise<void> {
    lookup.startedAt = this.#knowledge.clock.tick();
    lookup.startedMs = performance.now();
    // Read beside the lookup, not after it: the lookup takes longer.
    if (lookup.needsWriteBack && lookup.cachedMeta === undefined) {
      const cachedMeta = this.#access.cachedMeta(lookup.digest);
      lookup.cachedMeta = cachedMeta;
      // The write-back meets a defect in it, and there may be no write-back.
      cachedMeta.catch(() => {});
    }
    const outcome = await this.#stat(lookup);
    this.#limiter.release();
    try {
      await this.#record(lookup, outcome);
      lookup.end(outcome);
    } catch (error) {
      // A defect of ours goes to the callers: nothing awaits this promise.
      lookup.fail(error);
    }
  }

  async #stat(lookup: Lookup): Promise<LookupOutcome> {
    // The driver sees a failing storage, not a cancelled call.
    const deadline = setTimeout(
      () => lookup.expire(new StorageError(`a lookup did not end within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    try {
      const options = { signal: lookup.signal, maxAge: 0 };
      const stat = this.#upstream.stat(lookup.repository, lookup.digest, options);
      return { kind: 'found', layer: await abortable(stat, lookup.signal) };
    } catch (error) {
      if (error instanceof LayerUnknownError) return { kind: 'found', layer: undefined };
      return { kind: 'failed', error: asLayerError(error) };
    } finally {
      clearTimeout(deadline);
    }
  }

  async #record(lookup: Lookup, outcome: LookupOutcome): Promise<void> {
    if (outcome.kind === 'failed' || outcome.layer === undefined || !lookup.joinable) return;
    this.#knowledge.confirm(lookup.repository, lookup.digest, lookup.startedMs);
    if (lookup.needsWriteBack) await this.#access.writeBack(lookup, outcome.layer);
  }
}

/** Whether that caller may take a yes of this lookup. */
function isYoungEnough(lookup: Lookup, { caller, notBefore }: LookupRequest): boolean {
  if (lookup.waiting || notBefore === undefined) return true;
  return lookup.startedAt > caller.at || lookup.startedMs >= notBefore;
}
