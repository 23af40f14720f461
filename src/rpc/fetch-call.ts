import { status } from '@grpc/grpc-js';
import type { Authenticator } from '../auth/authenticator.js';
import type { FetchRequest } from '../gen/layercache/v1/layer_cache.js';
import { BufferBudget } from '../grpc/buffer-budget.js';
import type { BufferPool } from '../grpc/buffer-pool.js';
import { IdleGarbageCollection } from '../grpc/idle-garbage-collection.js';
import { RetainedBuffers } from '../grpc/retained-buffers.js';
import type { StallWatch } from '../grpc/stall-watch.js';
import { cuttingCode, type StreamingCall } from '../grpc/streaming-call.js';
import { WriteTurns } from '../grpc/write-turns.js';
import type { Admission } from './admission.js';
import { ServerCutError } from './call-aborts.js';
import { recordOf } from './call-record.js';
import type { CallsInFlight } from './calls-in-flight.js';
import { FetchStream } from './fetch-stream.js';
import type { RunningCall } from './running-call.js';
import { overloaded, statusOf } from './status.js';

/** Bytes of closed streams that a connection may still have to send. */
const maxLentBytes = 64 << 20;

/** Bytes of all streams' buffers: 12 streams have the largest size, 256 stalled ones the smallest. */
const bufferBudget = 24 << 20;

/** Bytes that all streams may write in one turn of the event loop: half a millisecond or so. */
const turnBytes = 512 << 10;

/** Opens a layer and sends it to its end; what it throws becomes the status. */
export type FetchWork = (request: FetchRequest, call: RunningCall, stream: FetchStream) => Promise<void>;

/** What all Fetches share. */
export interface FetchCallParts {
  readonly calls: CallsInFlight;
  readonly authenticator: Authenticator;
  readonly admission: Admission;
  readonly pool: BufferPool;
  readonly stallWatch: StallWatch;
}

/**
 * Runs the work as an observed call whose messages are already encoded, unless
 * too many streams are open.
 */
export function fetchCall(
  { calls, admission, authenticator, pool, stallWatch }: FetchCallParts,
  work: FetchWork,
): (transport: StreamingCall) => Promise<void> {
  const shares = new BufferBudget(bufferBudget, () => admission.streams);
  const lent = new RetainedBuffers(maxLentBytes);
  const parts = { pool, shares, stallWatch, lent, turns: new WriteTurns(turnBytes) };
  const leftovers = new IdleGarbageCollection();
  return async (transport) => {
    if (!admission.enterStream()) {
      transport.fail(overloaded);
      return;
    }
    const call = calls.begin('Fetch', transport);
    leftovers.began();
    const stream = new FetchStream(transport, call, parts);
    transport.once('cancelled', () => stream.over());
    call.armDeadline();
    try {
      // No await where there is nothing to wait for: it costs a turn.
      const identifying = call.identified(authenticator.identify(transport));
      if (identifying !== undefined) await identifying;
      await call.observed.run(() => work(transport.request as FetchRequest, call, stream));
      call.answer(status[status.OK], undefined);
    } catch (error) {
      const sent = statusOf(error);
      if (call.abortReason instanceof ServerCutError) transport.reset(cuttingCode);
      // The transport informs the client; a second status would end its wait for the first.
      if (call.abortReason === undefined) transport.fail(sent);
      call.answer(...recordOf(error, sent, call));
    }
    stream.settle();
    leftovers.over();
    admission.leaveStream();
  };
}
