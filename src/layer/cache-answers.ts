/** What a look into the cache means for the flight that follows it, case by case. */
import type { CacheSaid } from './flight.js';

/** The cache had nothing to say, by its own word. */
export const saidNo: CacheSaid = { lacking: true, denialIsNews: false, evidence: undefined };

/** The cache said yes and is not believed. */
export const saidYes: CacheSaid = { lacking: false, denialIsNews: true, evidence: undefined };

/** The cache failed: nothing is written back to it. */
export const saidNothing: CacheSaid = { lacking: false, denialIsNews: false, evidence: undefined };

/** The cache was not asked, about a layer that was not seen here yet. */
export const notAsked: CacheSaid = { lacking: true, denialIsNews: true, evidence: undefined };

/** The cache was not asked, about a layer that was seen here: what it lacks was written then. */
export const notAskedAgain: CacheSaid = { lacking: false, denialIsNews: true, evidence: undefined };
