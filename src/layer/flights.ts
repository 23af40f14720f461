/**
 * Rule 12: a lookup for one layer of one repository is shared by every call
 * that misses while it runs, whichever RPC it is. Per layer at most one flight
 * is in the air and one waits behind it: those who may not take the first one's
 * answer share the second.
 */
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { StorageError } from '../storage/storage-driver.js';
import { abortable } from './abortable.js';
import type { Doubts } from './doubts.js';
import { DataLossError, LayerUnknownError } from './errors.js';
import type { EventCount } from './event-count.js';
import type { Fences } from './fences.js';
import { type Arrival, type CacheSaid, Flight, type Landing } from './flight.js';
import { layerKey } from './layer-key.js';
import type { LayerService, LayerStat } from './layer-service.js';
import type { LookupPlaces } from './lookup-places.js';
import type { Sightings } from './sightings.js';
import { asLayerError } from './storage-errors.js';
import type { WriteBack } from './write-back.js';

/** A caller in want of an upstream answer. */
export interface Passenger {
  /** When its call began, from `Flights.arrival`; also its line for a place. */
  readonly arrival: Arrival;
  /**
   * The earliest moment, on the monotonic clock in milliseconds, at which the
   * look behind a yes may have begun (rule 15): infinite when it must have begun
   * after the call did, `undefined` when any will do.
   */
  readonly notBefore: number | undefined;
  readonly said: CacheSaid;
  readonly signal: AbortSignal;
  /** Called when storage denied a membership that the cache may hold; awaited. */
  denied(digest: Digest): unknown;
}

/** What an upstream look found. */
export interface Sighting {
  /** `undefined`: the repository does not have the layer. */
  readonly layer: LayerStat | undefined;
  /** When the look began, on the count of events. */
  readonly startedAt: number;
}

interface Runway {
  readonly key: string;
  air: Flight | undefined;
  next: Flight | undefined;
}

export class Flights {
  readonly #upstream: LayerService;
  readonly #places: LookupPlaces;
  readonly #fences: Fences;
  readonly #doubts: Doubts;
  readonly #sightings: Sightings;
  readonly #writeBack: WriteBack;
  readonly #timeoutMs: number;
  readonly #runways = new Map<string, Runway>();
  readonly #events: EventCount;

  /** `timeoutMs`: the deadline of one lookup as a whole (rule 16). */
  constructor(parts: {
    upstream: LayerService;
    places: LookupPlaces;
    fences: Fences;
    doubts: Doubts;
    sightings: Sightings;
    writeBack: WriteBack;
    events: EventCount;
    timeoutMs: number;
  }) {
    this.#upstream = parts.upstream;
    this.#places = parts.places;
    this.#fences = parts.fences;
    this.#doubts = parts.doubts;
    this.#sightings = parts.sightings;
    this.#writeBack = parts.writeBack;
    this.#events = parts.events;
    this.#timeoutMs = parts.timeoutMs;
  }

  /** A call begins now; the number is its place among arrivals and starts. */
  arrivedAt(): number {
    return this.#events.next();
  }

  /** Looks the layer up in storage, alone or together with others. */
  async find(repository: RepositoryName, digest: Digest, passenger: Passenger): Promise<Sighting> {
    for (;;) {
      passenger.signal.throwIfAborted();
      const flight = this.#board(repository, digest, passenger);
      const landing = await this.#ride(flight, passenger);
      const present = flight.startedAt === 0 || flight.startedAt > passenger.arrival.at;
      if (landing.kind === 'failed') {
        // Damage may have been mended, like a no by a push, before this call began.
        if (present || !(landing.error instanceof DataLossError)) throw landing.error;
        continue;
      }
      if (landing.layer !== undefined) return { layer: landing.layer, startedAt: flight.startedAt };
      if (flight.takeEviction()) await passenger.denied(digest);
      if (present) return { layer: undefined, startedAt: flight.startedAt };
    }
  }

  /** The flight that this passenger may take, a new one if there is none. */
  #board(repository: RepositoryName, digest: Digest, passenger: Passenger): Flight {
    const runway = this.#runway(repository, digest);
    const { air, next } = runway;
    if (air?.open && isYoungEnough(air, passenger)) {
      air.join(passenger.arrival, passenger.said);
      if (air.waiting) this.#places.enter(air, passenger.arrival.line);
      return air;
    }
    if (next?.open) {
      next.join(passenger.arrival, passenger.said);
      return next;
    }
    const flight = new Flight(repository, digest, this.#fences, (started) => void this.#fly(started));
    flight.join(passenger.arrival, passenger.said);
    void flight.landed.then(() => this.#clear(runway, flight));
    runway.next = flight;
    if (air === undefined) this.#advance(runway);
    return flight;
  }

  #runway(repository: RepositoryName, digest: Digest): Runway {
    const key = layerKey(repository, digest);
    let runway = this.#runways.get(key);
    if (runway === undefined) {
      runway = { key, air: undefined, next: undefined };
      this.#runways.set(key, runway);
    }
    return runway;
  }

  /** The waiting flight moves up and stands in the lines of its callers. */
  #advance(runway: Runway): void {
    const flight = runway.next;
    runway.air = flight;
    runway.next = undefined;
    if (flight === undefined) {
      this.#runways.delete(runway.key);
      return;
    }
    for (const caller of flight.callers) {
      if (!flight.waiting) return;
      this.#places.enter(flight, caller.line);
    }
  }

  #clear(runway: Runway, flight: Flight): void {
    if (runway.next === flight) runway.next = undefined;
    if (runway.air === flight) this.#advance(runway);
  }

  async #ride(flight: Flight, passenger: Passenger): Promise<Landing> {
    try {
      return await abortable(flight.landed, passenger.signal);
    } catch (error) {
      this.#places.leave(passenger.arrival.line);
      throw error;
    } finally {
      flight.leave(passenger.arrival);
    }
  }

  async #fly(flight: Flight): Promise<void> {
    flight.startedAt = this.#events.next();
    flight.startedMs = performance.now();
    // Read beside the look, not after it: the look takes longer.
    if (flight.lacking && flight.evidence === undefined) {
      const evidence = this.#writeBack.evidence(flight.digest);
      flight.evidence = evidence;
      // A defect in it is the write-back's to meet, and there may be none.
      evidence.catch(() => {});
    }
    const landing = await this.#look(flight);
    this.#places.release();
    try {
      await this.#remember(flight, landing);
      flight.end(landing);
    } catch (error) {
      // A defect of ours is for the calls to tell: nobody waits here.
      flight.end({ kind: 'failed', error });
    }
  }

  async #remember(flight: Flight, landing: Landing): Promise<void> {
    if (landing.kind === 'failed' || landing.layer === undefined || !flight.open) return;
    this.#doubts.settle(flight.repository, flight.digest);
    this.#sightings.saw(flight.repository, flight.digest, flight.startedMs);
    if (flight.lacking) await this.#writeBack.record(flight, landing.layer);
  }

  async #look(flight: Flight): Promise<Landing> {
    // What the driver hears is that the storage failed: it is no caller who left.
    const deadline = setTimeout(
      () => flight.expire(new StorageError(`a lookup did not end within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    try {
      const options = { signal: flight.signal, maxAge: 0 };
      const layer = await abortable(
        this.#upstream.stat(flight.repository, flight.digest, options),
        flight.signal,
      );
      return { kind: 'found', layer };
    } catch (error) {
      if (error instanceof LayerUnknownError) return { kind: 'found', layer: undefined };
      return { kind: 'failed', error: asLayerError(error) };
    } finally {
      clearTimeout(deadline);
    }
  }
}

/** Whether a yes of this flight, and with it the flight, is for that passenger. */
function isYoungEnough(flight: Flight, { arrival, notBefore }: Passenger): boolean {
  if (flight.waiting || notBefore === undefined) return true;
  return flight.startedAt > arrival.at || flight.startedMs >= notBefore;
}
