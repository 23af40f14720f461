/**
 * Examines a `file:` storage in a thread of its own. A thread whose file system
 * does not return within the time of an operation counts as hung: what it was
 * asked fails, and it is left behind.
 */
import { Worker } from 'node:worker_threads';
import type { Examined, Examiner } from '../maintenance/examiner.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { FileDriverOptions } from '../storage/file/file-driver.js';
import { StorageError } from '../storage/storage-driver.js';
import type { Answer, Question, ThreadData } from './examiner-messages.js';

/** What the thread runs: the build bundles it, and its modules lie as deep as this one. */
export const examinerProgram = new URL('../layercache-examiner.js', import.meta.url);

/** Small, since garbage is most of what the thread allocates. */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

interface Asked {
  readonly digests: readonly Digest[];
  readonly resolve: (examined: readonly Examined[]) => void;
  readonly reject: (error: unknown) => void;
}

export class ThreadedExaminer implements Examiner {
  readonly #worker: Worker;
  readonly #timeoutMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #calls: Int32Array;
  readonly #asked = new Map<number, Asked>();
  #lastCalls = 0;
  #lastAliveAt = 0;
  #nextId = 1;
  #failure: Error | undefined;

  /** `program` is what the thread runs. */
  constructor(storage: FileDriverOptions, program: URL) {
    const alive = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    this.#calls = new Int32Array(alive);
    this.#timeoutMs = storage.timeoutMs;
    const workerData: ThreadData = { storage, alive };
    this.#worker = new Worker(program, { workerData, resourceLimits });
    this.#worker.on('message', (answer: Answer) => this.#answered(answer));
    this.#worker.on('error', (error: unknown) =>
      this.#fail(error instanceof Error ? error : new Error(String(error))),
    );
    this.#timer = setInterval(() => this.#look(), Math.max(10, this.#timeoutMs / 4)).unref();
  }

  layers(
    repository: RepositoryName,
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<readonly Examined[]> {
    return this.#ask(repository, digests, signal);
  }

  blobs(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Examined[]> {
    return this.#ask(undefined, digests, signal);
  }

  /** Resolves when the thread has ended. One that hangs does not, and the process kills itself at its end. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#fail(new StorageError('the examiner was closed'));
    // The end of the process waits for its threads, and this one may wait for a dead disk.
    const kill = () => process.kill(process.pid, 'SIGKILL');
    process.once('exit', kill);
    this.#worker.unref();
    await this.#worker.terminate();
    process.off('exit', kill);
  }

  async #ask(
    repository: RepositoryName | undefined,
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<readonly Examined[]> {
    signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#asked.size === 0) this.#lastAliveAt = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<readonly Examined[]>();
    const question: Question = { id: this.#nextId, repository, digests };
    this.#nextId += 1;
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort);
    this.#asked.set(question.id, { digests, resolve, reject });
    try {
      this.#worker.postMessage(question);
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #answered(answer: Answer): void {
    const asked = this.#asked.get(answer.id);
    if (asked === undefined) return;
    this.#asked.delete(answer.id);
    if (answer.failure !== undefined) {
      const { message, isDefect } = answer.failure;
      asked.reject(isDefect ? new Error(message) : new StorageError(message));
      return;
    }
    const { lengths, exceptions } = answer;
    const examined = asked.digests.map(
      (digest, index): Examined => ({ fault: undefined, digest, length: lengths[index] ?? 0 }),
    );
    for (const [index, one] of exceptions) examined[index] = one;
    asked.resolve(examined);
  }

  #look(): void {
    const now = performance.now();
    const calls = Atomics.load(this.#calls, 0);
    if (this.#asked.size === 0 || calls !== this.#lastCalls) {
      this.#lastCalls = calls;
      this.#lastAliveAt = now;
    } else if (now - this.#lastAliveAt > this.#timeoutMs) {
      this.#fail(new StorageError(`the storage did not answer within ${this.#timeoutMs} ms`));
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }
}
