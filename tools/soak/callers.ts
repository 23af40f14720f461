/** The clients: every RPC, every age, whole layers and ranges; the oracle checks each answer. */
import { setTimeout as pause } from 'node:timers/promises';
import { type ServiceError, status } from '@grpc/grpc-js';
import type { Duration } from '../../src/gen/google/protobuf/duration.js';
import { blobPath } from '../../src/reference/layout.js';
import { bytesOf, LayerClient } from '../../test/parts/layer-client.js';
import type { GroundTruth } from './ground-truth.ts';
import type { Complaint, Oracle, Question } from './oracle.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Sum } from './tally.ts';

export interface Subject {
  readonly name: string;
  readonly address: string;
  readonly usesRedis: boolean;
}

export interface CallerParts {
  readonly truth: GroundTruth;
  readonly oracle: Oracle;
  readonly tally: Sum;
  readonly random: SeededRandom;
}

type Asking = Omit<Question, 'begun' | 'ended'>;
type Ask = (caller: Caller, asking: Asking) => Promise<void>;

/** The ages that callers take, in milliseconds; `undefined` is any. */
export const agesMs = [undefined, undefined, undefined, 0, 0, 500, 3000];

const rpcs: readonly (readonly [Ask, number])[] = [
  [(caller, asking) => caller.exists(asking), 30],
  [(caller, asking) => caller.stat(asking), 15],
  [(caller, asking) => caller.findMissing(asking), 10],
  [(caller, asking) => caller.fetchWhole(asking), 15],
  [(caller, asking) => caller.fetchRange(asking), 10],
  [(caller, asking) => caller.contains(asking), 5],
  [(caller, asking) => caller.add(asking), 4],
  [(caller, asking) => caller.getMeta(asking), 3],
  [(caller, asking) => caller.setMeta(asking), 3],
  [(caller, asking) => caller.remove(asking), 4],
];

/** One client on a connection of its own, which asks one thing after the other. */
export class Caller {
  readonly #subject: Subject;
  readonly #client: LayerClient;
  readonly #truth: GroundTruth;
  readonly #oracle: Oracle;
  readonly #tally: Sum;
  readonly #random: SeededRandom;

  constructor(subject: Subject, { truth, oracle, tally, random }: CallerParts) {
    this.#subject = subject;
    this.#client = new LayerClient(subject.address);
    this.#truth = truth;
    this.#oracle = oracle;
    this.#tally = tally;
    this.#random = random;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#random.weighed(rpcs)(this, this.#asking());
      await pause(this.#random.between(0, 4));
    }
  }

  close(): void {
    this.#client.close();
  }

  async exists(asking: Asking): Promise<void> {
    const { repository, name, maxAgeMs } = asking;
    await this.#checked('Exists', asking, async () => {
      const { exists } = await this.#client.exists(repository, name.digest, durationOf(maxAgeMs));
      return (question) => (exists ? this.#oracle.present(question) : this.#oracle.absent(question));
    });
  }

  async stat(asking: Asking): Promise<void> {
    const { repository, name, maxAgeMs } = asking;
    await this.#checked('Stat', asking, async () => {
      const { digest, length } = await this.#client.stat(repository, name.digest, durationOf(maxAgeMs));
      return (question) => this.#oracle.stat(question, digest, Number(length));
    });
  }

  /** The failure is of the digest that it names, or of none. */
  async findMissing(first: Asking): Promise<void> {
    const { repository, maxAgeMs } = first;
    const names = new Set([first.name]);
    for (let count = this.#random.between(0, 9); count > 0; count -= 1)
      names.add(this.#random.pick(this.#truth.names) ?? first.name);
    const digests = [...names].map(({ digest }) => digest as string);
    const begun = performance.now();
    this.#tally.calls += 1;
    let missing: ReadonlySet<string> | undefined;
    let code: status | undefined;
    try {
      missing = new Set(await this.#client.findMissing(repository, digests, durationOf(maxAgeMs)));
    } catch (error) {
      code = (error as ServiceError).code;
    }
    const ended = performance.now();
    const complaints = [...names].map((name): Complaint => {
      const question = { ...first, name, begun, ended };
      if (missing === undefined) return this.#oracle.failed(question, code ?? status.UNKNOWN, false);
      return missing.has(name.digest) ? this.#oracle.absent(question) : this.#oracle.present(question);
    });
    // One digest's failure is enough for the call's.
    const isRight =
      missing === undefined ? complaints.includes(undefined) : complaints.every((each) => !each);
    if (!isRight) this.#complain('FindMissing', first, complaints.find(Boolean) ?? '');
  }

  async fetchWhole(asking: Asking): Promise<void> {
    const { repository, name, maxAgeMs } = asking;
    await this.#checked('Fetch', asking, async () => {
      const range = { maxAge: durationOf(maxAgeMs) };
      const { header, bytes } = await bytesOf(this.#client.fetch(repository, name.digest, range));
      return (question) => this.#oracle.whole(question, header.digest, Number(header.length), bytes);
    });
  }

  async fetchRange(asking: Asking): Promise<void> {
    const { repository, name, maxAgeMs } = asking;
    const size = name.content.bytes.length;
    const offset = this.#random.between(1, size - 1);
    const limit = this.#random.chance(0.3) ? 0 : this.#random.between(1, size);
    await this.#checked('Fetch of a range', asking, async () => {
      const range = { offset: BigInt(offset), limit: BigInt(limit), maxAge: durationOf(maxAgeMs) };
      const { header, bytes } = await bytesOf(this.#client.fetch(repository, name.digest, range));
      return (question) => this.#oracle.range(question, { offset, limit }, Number(header.length), bytes);
    });
  }

  async contains(asking: Asking): Promise<void> {
    await this.#checked(
      'Contains',
      asking,
      async () => {
        const contains = await this.#client.contains(asking.repository, asking.name.digest);
        return (question) => (contains ? this.#oracle.contained(question) : undefined);
      },
      'cache',
    );
  }

  async add(asking: Asking): Promise<void> {
    const strict = { ...asking, maxAgeMs: 0 };
    await this.#checked(
      'Add',
      strict,
      async () => {
        await this.#client.add(asking.repository, asking.name.digest);
        return (question) => this.#oracle.present(question);
      },
      'both',
    );
  }

  async getMeta(asking: Asking): Promise<void> {
    await this.#checked(
      'GetMeta',
      asking,
      async () => {
        const meta = await this.#client.getMeta(asking.name.content.digest);
        return (question) => this.#oracle.meta(question, meta?.path ?? '', Number(meta?.length));
      },
      'cache',
      // That nothing is cached is always right.
      (code) => code === status.NOT_FOUND,
    );
  }

  async setMeta(asking: Asking): Promise<void> {
    const { content } = asking.name;
    const other = this.#random.pick(this.#truth.contents) ?? content;
    const path = blobPath(this.#random.chance(0.8) ? content.digest : other.digest);
    const length = content.bytes.length + (this.#random.chance(0.8) ? 0 : 1);
    const begun = performance.now();
    await this.#checked(
      'SetMeta',
      asking,
      async () => {
        await this.#client.setMeta(content.digest, { path, length: BigInt(length) });
        return (question) => this.#oracle.metaTaken(question, path, length);
      },
      'both',
      (code) => {
        if (code !== status.FAILED_PRECONDITION) return false;
        const question = { ...asking, begun, ended: performance.now() };
        return this.#oracle.metaRefused(question, path, length) === undefined;
      },
    );
  }

  async remove(asking: Asking): Promise<void> {
    await this.#checked(
      'Remove',
      asking,
      async () => {
        await this.#client.remove(asking.repository, asking.name.digest);
        return () => undefined;
      },
      'cache',
    );
  }

  #asking(): Asking {
    const { name: server, usesRedis } = this.#subject;
    const repository = this.#random.pick(this.#truth.repositories);
    const name = this.#random.pick(this.#truth.names);
    if (repository === undefined || name === undefined) throw new Error('there is nothing to ask about');
    return { server, usesRedis, repository, name, maxAgeMs: this.#random.pick(agesMs) };
  }

  /** Makes a call and checks the answer or the failure. `asks`: what the call needs to work. */
  async #checked(
    rpc: string,
    asking: Asking,
    ask: () => Promise<(question: Question) => Complaint>,
    asks: 'storage' | 'cache' | 'both' = 'storage',
    isRightFailure: (code: status) => boolean = () => false,
  ): Promise<void> {
    const begun = performance.now();
    this.#tally.calls += 1;
    let oracle: (question: Question) => Complaint;
    try {
      oracle = await ask();
    } catch (error) {
      const { code } = error as ServiceError;
      if (code === undefined) throw error;
      oracle = (question) => {
        if (isRightFailure(code)) return undefined;
        if (asks === 'cache') return this.#oracle.cacheFailed(question, code);
        return this.#oracle.failed(question, code, asks === 'both');
      };
    }
    const complaint = oracle({ ...asking, begun, ended: performance.now() });
    if (complaint !== undefined) this.#complain(rpc, asking, complaint);
  }

  #complain(rpc: string, { server, repository, name, maxAgeMs }: Asking, complaint: string): void {
    const age = maxAgeMs === undefined ? 'any age' : `max_age ${maxAgeMs} ms`;
    this.#tally.complain(
      `${rpc} (${server}, ${repository}, ${name.digest.slice(0, 19)}…, ${age}): ${complaint}`,
    );
  }
}

export function durationOf(ms: number | undefined): Duration | undefined {
  if (ms === undefined) return undefined;
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
}
