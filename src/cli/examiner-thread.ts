/**
 * A thread that looks layers and blobs up in a `file:` storage, with calls of
 * its own instead of the thread pool's. `examiner-threads.ts` starts it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { DriverExaminer, type Examined } from '../maintenance/examiner.js';
import type { Digest } from '../reference/digest.js';
import { FileDriver } from '../storage/file/file-driver.js';
import { SynchronousFileSystem } from '../storage/file/synchronous-file-system.js';
import { StorageError } from '../storage/storage-driver.js';
import type { Answer, Question, ThreadData } from './examiner-messages.js';

/** Looks at once: synchronous calls leave nothing to overlap but the pauses before a failed look is repeated. */
const looksAtOnce = 8;
const asynchronousLooksAtOnce = 32;

/**
 * Milliseconds for a layer that is slow: its looks wait for a disk or a network,
 * and are waited for side by side. From memory it takes 0.04, from a busy
 * machine's some times that.
 */
const slowMs = 1;
/** Batches after a slow one until the next is tried synchronously. */
const slowBatches = 50;

const { storage, alive }: ThreadData = workerData;
const calls = new Int32Array(alive);
const onCall = () => Atomics.add(calls, 0, 1);
const quick = new DriverExaminer(new FileDriver(storage, new SynchronousFileSystem(onCall)), looksAtOnce);
const patient = new DriverExaminer(new FileDriver(storage), asynchronousLooksAtOnce);
let slowLeft = 0;
// The thread is ended from outside.
const { signal } = new AbortController();

// One after the other, so that the time of each is its own.
let last: Promise<void> = Promise.resolve();
parentPort?.on('message', (question: Question) => {
  last = last.then(() => answerTo(question));
});

async function answerTo(question: Question): Promise<void> {
  const { id, repository, digests } = question;
  let answer: Answer;
  try {
    const examiner = slowLeft > 0 ? patient : quick;
    const begunAt = performance.now();
    const examined =
      repository === undefined
        ? await examiner.blobs(digests, signal)
        : await examiner.layers(repository, digests, signal);
    onCall();
    if (slowLeft > 0) slowLeft -= 1;
    else if ((performance.now() - begunAt) / digests.length > slowMs) slowLeft = slowBatches;
    answer = { id, ...compact(digests, examined) };
  } catch (error) {
    const isDefect = !(error instanceof StorageError);
    answer = { id, failure: { message: messageOf(error, isDefect), isDefect } };
  }
  parentPort?.postMessage(answer);
}

/** Numbers are cheaper to hand over than objects. */
function compact(
  digests: readonly Digest[],
  examined: readonly Examined[],
): Omit<Extract<Answer, { lengths: unknown }>, 'id'> {
  const lengths = new Float64Array(examined.length);
  const exceptions: (readonly [number, Examined])[] = [];
  for (const [index, one] of examined.entries()) {
    if (one.fault !== undefined || one.digest !== digests[index]) exceptions.push([index, one]);
    else lengths[index] = one.length;
  }
  return { lengths, exceptions };
}

function messageOf(error: unknown, isDefect: boolean): string {
  if (!(error instanceof Error)) return String(error);
  return (isDefect && error.stack) || error.message;
}
