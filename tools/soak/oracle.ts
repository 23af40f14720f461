/**
 * The test oracle: decides whether an answer is right. It is if it was true at some moment
 * of its call, widened by what the rules allow: a yes may be as old as the caller accepts
 * (rule 15), a no never (rule 12), and bytes either hash to their digest or, of a range,
 * are what the blob held (rule 7).
 */
import { status } from '@grpc/grpc-js';
import { blobPath } from '../../src/reference/layout.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import {
  type BlobState,
  type GroundTruth,
  isDamaged,
  isPresent,
  type Link,
  type Name,
} from './ground-truth.ts';

/** A call about one layer; times are on the clock of the ground truth. */
export interface Question {
  readonly server: string;
  /** Whether the server shares the Redis that faults are injected into. */
  readonly usesRedis: boolean;
  readonly repository: RepositoryName;
  readonly name: Name;
  /** Milliseconds; `undefined` takes any age. */
  readonly maxAgeMs: number | undefined;
  readonly begun: number;
  readonly ended: number;
}

/** What is wrong with an answer; `undefined` when it is right. */
export type Complaint = string | undefined;

/**
 * Milliseconds after which no lookup from before a layer was gone can still write it back:
 * the longest that a lookup takes here, and the longest that Redis is stopped.
 */
export const lateWriteMs = 8_000;
/** Milliseconds after its end in which a fault may still have effects: connections and breakers recover. */
const recoveryMs = 6_000;
/** Milliseconds by which the clocks of two processes may differ. */
const slackMs = 2;

export class Oracle {
  /** The age of the oldest yes that a call without `max_age` was given, in milliseconds. */
  oldestYesMs = 0;
  /** Calls that were UNAVAILABLE although no fault was injected. */
  unexplained = 0;
  readonly #truth: GroundTruth;
  readonly #denials = new Map<string, number>();

  constructor(truth: GroundTruth) {
    this.#truth = truth;
  }

  /** A yes of Exists or FindMissing, which an answered Stat or Fetch implies. */
  present(question: Question): Complaint {
    const { repository, name, maxAgeMs, begun, ended } = question;
    const link = name.links.get(repository);
    if (link === undefined || !link.wasGood) return 'a layer that the repository never had is granted';
    if (maxAgeMs !== undefined) {
      if (couldBePresent(name, link, begun - maxAgeMs - slackMs, ended)) return undefined;
      return `a yes older than its max_age of ${maxAgeMs} ms`;
    }
    const denied = this.#denials.get(keyOf(question));
    if (denied !== undefined && denied <= begun && !couldBePresent(name, link, denied - lateWriteMs, ended))
      return 'a yes came back after a no, and nothing was pushed';
    const seen = Math.min(
      link.state.lastPossible((state) => state === 'good', ended),
      name.content.blob.lastPossible(isPresent, ended),
    );
    this.oldestYesMs = Math.max(this.oldestYesMs, Math.min(begun, ended) - seen);
    return undefined;
  }

  /** A no of Exists or FindMissing, NOT_FOUND of Stat and Fetch, LAYER_UNVERIFIED of Add. */
  absent(question: Question): Complaint {
    const { repository, name, begun, ended } = question;
    this.#denials.set(keyOf(question), ended);
    const link = name.links.get(repository);
    if (link === undefined) return undefined;
    const couldBe =
      link.state.possible(begun, ended).includes('absent') ||
      name.content.blob.possible(begun, ended).some(({ kind }) => kind === 'absent');
    return couldBe ? undefined : 'a present layer is reported missing';
  }

  stat(question: Question, digest: string, length: number): Complaint {
    const { name, maxAgeMs, begun, ended } = question;
    const { content } = name;
    if (digest !== content.digest) return 'another digest than the canonical one';
    const since = maxAgeMs === undefined ? undefined : begun - maxAgeMs - lateWriteMs;
    const could =
      since === undefined
        ? content.lengths.has(length)
        : content.blob.possible(since, ended).some(({ bytes }) => bytes.length === length);
    return could ? this.present(question) : `a length of ${length} that the blob never had`;
  }

  whole(question: Question, digest: string, length: number, bytes: Buffer): Complaint {
    const { content } = question.name;
    if (digest !== content.digest) return 'another digest than the canonical one';
    if (!bytes.equals(content.bytes)) return 'bytes that do not match the digest end in OK';
    if (length !== bytes.length) return 'a header of another length than its bytes';
    return this.present(question);
  }

  range(
    question: Question,
    { offset, limit }: { readonly offset: number; readonly limit: number },
    length: number,
    bytes: Buffer,
  ): Complaint {
    const { name, begun, ended } = question;
    const sliceOf = (state: BlobState) =>
      state.bytes.subarray(offset, limit === 0 ? undefined : offset + limit);
    const could = name.content.blob
      .possible(begun, ended)
      .some((state) => isPresent(state) && state.bytes.length === length && sliceOf(state).equals(bytes));
    return could ? this.present(question) : 'a range of bytes that the blob did not hold';
  }

  /** A call about storage that failed. */
  failed(question: Question, code: status, asksCache: boolean): Complaint {
    const { name, repository, begun, ended } = question;
    switch (code) {
      case status.NOT_FOUND:
      case status.FAILED_PRECONDITION:
        return this.absent(question);
      case status.DATA_LOSS: {
        const link = name.links.get(repository);
        if (link?.state.possible(begun, ended).includes('damaged')) return undefined;
        const states = name.content.blob.possible(begun, ended);
        // So is a change while a reader reads.
        if (states.length > 1 || states.some(isDamaged)) return undefined;
        return 'DATA_LOSS of a layer that is whole';
      }
      case status.OUT_OF_RANGE:
        return name.content.wasDamaged ? undefined : 'OUT_OF_RANGE within the layer';
      case status.UNAVAILABLE:
        if (this.#storageFault(name, begun, ended)) return undefined;
        if (asksCache && this.cacheFault(question)) return undefined;
        this.unexplained += 1;
        return undefined;
      default:
        return `status ${status[code]}`;
    }
  }

  /** Whether a fault of Redis lasted, or may still have had effects, during the call. */
  cacheFault({ usesRedis, begun, ended }: Question): boolean {
    return usesRedis && this.#truth.redis.possible(begun - recoveryMs, ended).includes('faulty');
  }

  /** A call that asks the cache alone has failed. */
  cacheFailed(question: Question, code: status): Complaint {
    if (code !== status.UNAVAILABLE) return `status ${status[code]}`;
    if (!this.cacheFault(question)) this.unexplained += 1;
    return undefined;
  }

  contained({ repository, name }: Question): Complaint {
    return name.links.get(repository)?.wasGood === true ? undefined : 'a membership that never was';
  }

  meta({ name: { content } }: Question, path: string, length: number): Complaint {
    if (path !== blobPath(content.digest)) return 'metadata that lead elsewhere';
    return content.lengths.has(length) ? undefined : 'metadata of a length that the blob never had';
  }

  metaTaken({ name: { content }, begun, ended }: Question, path: string, length: number): Complaint {
    if (path !== blobPath(content.digest)) return 'metadata that lead elsewhere were taken';
    const could = content.blob.possible(begun, ended).some(({ bytes }) => bytes.length === length);
    return could ? undefined : 'metadata of another length were taken';
  }

  metaRefused({ name: { content }, begun, ended }: Question, path: string, length: number): Complaint {
    if (path !== blobPath(content.digest) || content.wasDamaged) return undefined;
    const could = content.blob.possible(begun, ended).some(({ bytes }) => bytes.length !== length);
    return could ? undefined : 'metadata that are right were refused';
  }

  #storageFault({ content }: Name, begun: number, ended: number): boolean {
    // A blob that comes and goes under a call is UNAVAILABLE at the second time (rule 6).
    if (content.blob.possible(begun, ended).length > 1) return true;
    return this.#truth.root.possible(begun - recoveryMs, ended).includes('away');
  }
}

/** Link and blob each on its own: a lookup reads the link first and the blob after it. */
function couldBePresent(name: Name, link: Link, from: number, to: number): boolean {
  return (
    link.state.possible(from, to).includes('good') && name.content.blob.possible(from, to).some(isPresent)
  );
}

function keyOf({ server, repository, name }: Question): string {
  return `${server} ${repository} ${name.digest}`;
}
