import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { ExistsRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { StorageUnavailableError } from '../../src/layer/errors.js';
import { CallCancelledError, CallDeadlineError } from '../../src/rpc/call-aborts.js';
import { rawCall } from '../grpc/http2-client.js';
import { digest, repository } from './scripted-layers.js';
import { ask, failure, startServer } from './started-server.js';

const existsPath = '/layercache.v1.LayerCacheService/Exists';
const request = { repository, digest, maxAge: undefined };

/** Rejects with what `error` makes of the abort, once the signal is aborted. */
function whenAborted(signal: AbortSignal, error = (reason: unknown) => reason): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(error(signal.reason)));
  });
}

describe('cancellation', () => {
  it('reaches the signal, and the call is recorded as CANCELLED', async () => {
    const { connect, layers, observed } = await startServer();
    layers.exists = (_repository, _digest, { signal }) => whenAborted(signal);
    const call = connect().exists(request, () => {});
    await observed.begun(0);
    call.cancel();
    const recorded = await observed.ended(0);
    expect(recorded.ends).toEqual([{ code: 'CANCELLED', error: expect.any(CallCancelledError) }]);
  });

  it.each([
    ['wraps it', (reason: unknown) => new StorageUnavailableError(reason)],
    ['makes it a failure', () => new StorageUnavailableError(new Error('read'))],
    ['turns it into an AbortError', () => new DOMException('aborted', 'AbortError')],
  ])('is recorded as such also when the work %s', async (_what, error) => {
    const { connect, layers, observed } = await startServer();
    layers.exists = (_repository, _digest, { signal }) => whenAborted(signal, error);
    const call = connect().exists(request, () => {});
    await observed.begun(0);
    call.cancel();
    expect((await observed.ended(0)).ends).toEqual([
      { code: 'CANCELLED', error: expect.any(CallCancelledError) },
    ]);
  });

  it('does not hide a defect', async () => {
    const { connect, layers, observed } = await startServer();
    const defect = new TypeError('undefined is not a function');
    layers.exists = (_repository, _digest, { signal }) => whenAborted(signal, () => defect);
    const call = connect().exists(request, () => {});
    await observed.begun(0);
    call.cancel();
    expect((await observed.ended(0)).ends).toEqual([{ code: 'INTERNAL', error: defect }]);
  });

  it('of a call whose work ends well all the same is recorded as CANCELLED', async () => {
    const { connect, layers, observed } = await startServer();
    layers.exists = async (_repository, _digest, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      return { exists: true, source: 'cache' };
    };
    const call = connect().exists(request, () => {});
    await observed.begun(0);
    call.cancel();
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'CANCELLED' }]);
  });

  it('aborts a signal that is asked for only afterwards', async () => {
    const { connect, layers, observed } = await startServer();
    const asked = Promise.withResolvers<void>();
    layers.exists = async (_repository, _digest, options) => {
      await asked.promise;
      options.signal.throwIfAborted();
      return { exists: true, source: 'cache' };
    };
    const client = connect();
    const call = client.exists(request, () => {});
    await observed.begun(0);
    call.cancel();
    // Its answer shows that the server has received what came before it on the connection.
    layers.exists = async () => ({ exists: true, source: 'cache' });
    await ask((callback) => client.exists(request, callback));
    asked.resolve();
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'CANCELLED' }]);
  });

  it('never ends a call that has its answer', async () => {
    const { connect, layers } = await startServer();
    const signals: AbortSignal[] = [];
    layers.exists = async (_repository, _digest, { signal }) => {
      signals.push(signal);
      return { exists: true, source: 'cache' };
    };
    const client = connect();
    for (let i = 0; i < 3; i++) await ask((callback) => client.exists(request, callback));
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false]);
  });
});

describe('a deadline', () => {
  it('reaches the signal, and the call is DEADLINE_EXCEEDED on the wire and in the record', async () => {
    const { address, layers, observed } = await startServer();
    layers.exists = (_repository, _digest, { signal }) => whenAborted(signal);
    const call = rawCall(address, existsPath, ExistsRequest.encode(request).finish(), {
      'grpc-timeout': '50m',
    });
    call.stream.resume();
    expect((await call.trailers)['grpc-status']).toBe(String(status.DEADLINE_EXCEEDED));
    expect((await observed.ended(0)).ends).toEqual([
      { code: 'DEADLINE_EXCEEDED', error: expect.any(CallDeadlineError) },
    ]);
  });

  it('that passes before the request has ended is answered, and no handler runs', async () => {
    const { address, layers, observed } = await startServer();
    layers.exists = () => Promise.reject(new Error('it was asked'));
    const message = ExistsRequest.encode(request).finish();
    const call = rawCall(address, existsPath, message, { 'grpc-timeout': '20m' }, false);
    call.stream.resume();
    expect((await call.trailers)['grpc-status']).toBe(String(status.DEADLINE_EXCEEDED));
    call.stream.end();
    expect(await call.closed).toBe(0);
    expect(observed.calls).toEqual([]);
  });

  it('carries no details', async () => {
    const { connect, layers } = await startServer();
    layers.exists = (_repository, _digest, { signal }) => whenAborted(signal);
    const error = await failure(
      ask((callback) => connect().exists(request, { deadline: Date.now() + 50 } as never, callback)),
    );
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    expect(error.metadata.get('grpc-status-details-bin')).toEqual([]);
  });
});
