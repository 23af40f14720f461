import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { type ServerWritableStream, status } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import type { FetchRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { BufferBudget } from '../../src/grpc/buffer-budget.js';
import { BufferPool } from '../../src/grpc/buffer-pool.js';
import { resetStreamOf } from '../../src/grpc/http2-stream.js';
import { RetainedBuffers } from '../../src/grpc/retained-buffers.js';
import { StallWatch } from '../../src/grpc/stall-watch.js';
import { LibraryCall } from '../../src/grpc/streaming-call.js';
import { WriteTurns } from '../../src/grpc/write-turns.js';
import { ClientStalledError } from '../../src/rpc/call-aborts.js';
import { CallsInFlight } from '../../src/rpc/calls-in-flight.js';
import { FetchStream } from '../../src/rpc/fetch-stream.js';
import { RecordedCalls } from '../rpc/recorded-calls.js';
import { ScriptedLayer } from '../rpc/scripted-layers.js';

/** A call of a library whose private parts are not where we look for them. */
class OpaqueCall extends EventEmitter {
  readonly metadata = { get: () => [] };
  writes = 0;
  getDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }
  /** The header is taken, the first chunk never. */
  write(_message: Buffer, callback: () => void): void {
    if (this.writes++ === 0) queueMicrotask(callback);
  }
}

it.each([[{}], [{ call: null }], [{ call: { stream: {} } }], [{ call: { nextCall: { nextCall: {} } } }]])(
  'where the HTTP/2 stream is not found, nothing is reset: %j',
  (call) => {
    expect(resetStreamOf(call, 8)).toBe(false);
  },
);

it('a call that is nested in itself is looked through once', () => {
  const call: { call?: object; nextCall?: object } = {};
  call.call = call;
  call.nextCall = call;
  expect(resetStreamOf(call, 8)).toBe(false);
});

it('rule 17: without the private part a stalled stream ends by its status, and lets go all the same', async () => {
  const grpcCall = new OpaqueCall();
  const pool = new BufferPool(1 << 20);
  const call = new CallsInFlight(new RecordedCalls()).begin('Fetch', grpcCall as never);
  const stream = new FetchStream(
    new LibraryCall(grpcCall as unknown as ServerWritableStream<FetchRequest, Buffer>),
    call,
    {
      pool,
      shares: new BufferBudget(1 << 20, () => 1),
      lent: new RetainedBuffers(1 << 20),
      stallWatch: new StallWatch(20),
      turns: new WriteTurns(1 << 20),
    },
  );
  const layer = new ScriptedLayer(randomBytes(300_000));
  const told = once(grpcCall, 'error');
  grpcCall.on('error', () => {});
  await expect(stream.send(layer, 64 << 10)).rejects.toBeInstanceOf(ClientStalledError);
  expect(layer.closes).toBe(1);
  expect(pool.idleBytes).toBeGreaterThan(0);
  expect(await told).toMatchObject([{ code: status.RESOURCE_EXHAUSTED }]);
});
