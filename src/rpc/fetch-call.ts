import type { Authenticator } from '../auth/authenticator.js';
import type { FetchRequest } from '../gen/messages/layercache/v1/layer_cache.js';
import type { StallWatch } from '../grpc/stall-watch.js';
import { status } from '../grpc/status-code.js';
import { cuttingCode, type StreamingCall } from '../grpc/transport.js';
import type { Admission } from './admission.js';
import { BufferBudget } from './buffer-budget.js';
import type { BufferPool } from './buffer-pool.js';
import { ServerCutError } from './call-aborts.js';
import { recordOf } from './call-record.js';
import type { CallsInFlight } from './calls-in-flight.js';
import { ChunkLayout } from './chunk-layout.js';
import { FetchStream } from './fetch-stream.js';
import { IdleGarbageCollection } from './idle-garbage-collection.js';
import type { RunningCall } from './running-call.js';
import { overloaded, statusOf } from './status.js';
import { WriteTurns } from './write-turns.js';

/** Bytes of all streams' buffers: 12 streams have the largest size, 256 stalled ones the smallest. */
const bufferBudget = 24 << 20;

/** Bytes that all streams may write in one turn of the event loop: half a millisecond or so. */
const turnBytes = 1 << 20;

/** Opens a layer and sends it to its end; what it throws becomes the status. */
export type FetchWork = (request: FetchRequest, call: RunningCall, stream: FetchStream) => Promise<void>;

/** What a client is told where its stream cannot be reset. */
const stopped = { code: status.UNAVAILABLE, message: 'the server was stopped' };

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
  const turns = new WriteTurns(turnBytes);
  let layout: ChunkLayout | undefined;
  const idleCollection = new IdleGarbageCollection();
  return async (transport) => {
    if (!admission.enterStream()) {
      transport.fail(overloaded);
      return;
    }
    const call = calls.begin('Fetch', transport);
    idleCollection.began();
    layout ??= transport.frames && new ChunkLayout(transport.frames);
    const stream = new FetchStream(transport, call, { pool, shares, stallWatch, turns, layout });
    transport.onOver(() => stream.over());
    call.armDeadline();
    try {
      // No await where there is nothing to wait for: it costs a turn.
      const identifying = call.identified(authenticator.identify(transport));
      if (identifying !== undefined) await identifying;
      await call.observed.run(() => work(transport.request as FetchRequest, call, stream));
      call.answer(status[status.OK], undefined);
    } catch (error) {
      const sent = statusOf(error);
      const { abortReason } = call;
      // Before the transport, which says at once that the call is over.
      call.answer(...recordOf(error, sent, call));
      const isReset = abortReason instanceof ServerCutError && transport.reset(cuttingCode);
      // The transport informs the client; a second status would end its wait for the first.
      if (abortReason === undefined) transport.fail(sent);
      else if (abortReason instanceof ServerCutError && !isReset) transport.fail(stopped);
    }
    stream.settle();
    idleCollection.over();
    admission.leaveStream();
  };
}
