import { Metadata, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { type FindMissingResponse, RedirectPolicy, Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { digest, otherDigest, repository, ScriptedLayer } from './scripted-layers.js';
import { ask, failure, fetchAll, startServer } from './started-server.js';

describe('the nine RPCs', () => {
  it('Exists says what the layer service says, and from where', async () => {
    const { connect, layers, observed } = await startServer();
    const asked: unknown[] = [];
    layers.exists = async (...args) => {
      asked.push([args[0], args[1], args[2].maxAge]);
      return { exists: false, source: 'upstream' };
    };
    const answer = await ask((callback) =>
      connect().exists({ repository, digest, maxAge: { seconds: 1n, nanos: 500_000_000 } }, callback),
    );
    expect(answer).toEqual({ exists: false, source: Source.SOURCE_UPSTREAM });
    expect(asked).toEqual([[repository, digest, 1500]]);
    const call = await observed.ended(0);
    expect(call).toMatchObject({ method: 'Exists', repository, digest, source: 'upstream', runs: 1 });
    expect(call.ends).toEqual([{ code: 'OK', error: undefined }]);
  });

  it('Exists says SOURCE_CACHE for a hit', async () => {
    const { connect } = await startServer();
    const answer = await ask((callback) =>
      connect().exists({ repository, digest, maxAge: undefined }, callback),
    );
    expect(answer).toEqual({ exists: true, source: Source.SOURCE_CACHE });
  });

  it('Stat gives the canonical digest and lengths beyond 32 bits', async () => {
    const { connect, layers } = await startServer();
    layers.stat = async () => ({
      digest: otherDigest,
      length: Number.MAX_SAFE_INTEGER,
      source: 'cache',
      blob: undefined,
    });
    const answer = await ask((callback) =>
      connect().stat({ repository, digest, maxAge: undefined }, callback),
    );
    expect(answer).toEqual({
      digest: otherDigest,
      length: BigInt(Number.MAX_SAFE_INTEGER),
      source: Source.SOURCE_CACHE,
    });
  });

  it('FindMissing asks for distinct digests in the order of the request', async () => {
    const { connect, layers, observed } = await startServer();
    const asked: unknown[] = [];
    layers.findMissing = async (_repository, digests) => {
      asked.push([...digests]);
      return digests.slice(1);
    };
    const digests = [otherDigest, digest, otherDigest, digest];
    const answer = await ask<FindMissingResponse>((callback) =>
      connect().findMissing({ repository, digests, maxAge: undefined }, callback),
    );
    expect(asked).toEqual([[otherDigest, digest]]);
    expect(answer.missingDigests).toEqual([digest]);
    expect(await observed.ended(0)).toMatchObject({ repository, digest: undefined });
  });

  it('Fetch gives one header and then the bytes, and records how many were sent', async () => {
    const { connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(Buffer.from('the bytes of the layer'));
    const asked: unknown[] = [];
    layers.fetch = async (_repository, _digest, range, { maxAge }) => {
      asked.push([range, maxAge]);
      return layer;
    };
    const { headers, chunks } = await fetchAll(connect(), {
      offset: 3n,
      limit: 2n ** 63n - 1n,
      maxAge: { seconds: 0n, nanos: 0 },
    });
    expect(headers).toEqual([
      { digest, length: 22n, offset: 0n, source: Source.SOURCE_UPSTREAM, redirectUrl: '' },
    ]);
    expect(Buffer.concat(chunks).toString()).toBe('the bytes of the layer');
    expect(asked).toEqual([[{ offset: 3, limit: Number.MAX_SAFE_INTEGER }, 0]]);
    const call = await observed.ended(0);
    expect(call).toMatchObject({
      method: 'Fetch',
      repository,
      digest,
      source: 'upstream',
      bytes: 22,
      runs: 1,
    });
    expect(call.ends).toEqual([{ code: 'OK', error: undefined }]);
    expect(layer.closes).toBe(1);
  });

  it('Fetch that prefers a redirect gives a header with the URL and nothing else, however long it is', async () => {
    const { connect, layers, observed } = await startServer();
    const url = `https://store/blob?signature=${'f'.repeat(4000)}`;
    const asked: unknown[] = [];
    layers.fetchOrRedirect = async (_repository, _digest, range, { maxAge }) => {
      asked.push([range, maxAge]);
      return { digest: otherDigest, length: 2 ** 40, source: 'cache', offset: 5, url };
    };
    const request = {
      offset: 5n,
      redirect: RedirectPolicy.REDIRECT_POLICY_PREFER,
      maxAge: { seconds: 1n, nanos: 0 },
    };
    expect(await fetchAll(connect(), request)).toEqual({
      headers: [
        { digest: otherDigest, length: 2n ** 40n, offset: 5n, source: Source.SOURCE_CACHE, redirectUrl: url },
      ],
      chunks: [],
    });
    expect(asked).toEqual([[{ offset: 5, limit: 0 }, 1000]]);
    const call = await observed.ended(0);
    expect(call).toMatchObject({ method: 'Fetch', source: 'cache', bytes: 0, runs: 1 });
    expect(call.ends).toEqual([{ code: 'OK', error: undefined }]);
  });

  it('Fetch that prefers a redirect gives bytes where there is none', async () => {
    const { connect, layers } = await startServer();
    const layer = new ScriptedLayer(Buffer.from('bytes all the same'));
    layers.fetchOrRedirect = async () => layer;
    const { headers, chunks } = await fetchAll(connect(), {
      redirect: RedirectPolicy.REDIRECT_POLICY_PREFER,
    });
    expect(headers).toMatchObject([{ length: 18n, redirectUrl: '' }]);
    expect(Buffer.concat(chunks).toString()).toBe('bytes all the same');
    expect(layer.closes).toBe(1);
  });

  it('Contains, Add, GetMeta, SetMeta and Remove reach the layer info', async () => {
    const { connect, layers } = await startServer();
    const asked: unknown[] = [];
    layers.contains = async (...args) => {
      asked.push(['contains', ...args]);
      return false;
    };
    layers.add = async (...args) => void asked.push(['add', ...args.slice(0, -1)]);
    layers.setMeta = async (...args) => void asked.push(['setMeta', ...args.slice(0, -1)]);
    layers.remove = async (...args) => void asked.push(['remove', ...args]);
    layers.meta = async (of) => ({ path: `/of/${of}`, length: 7 });
    const client = connect();
    expect(await ask((callback) => client.contains({ repository, digest }, callback))).toEqual({
      contains: false,
    });
    expect(await ask((callback) => client.add({ repository, digest }, callback))).toEqual({});
    expect(await ask((callback) => client.getMeta({ digest }, callback))).toEqual({
      meta: { path: `/of/${digest}`, length: 7n },
    });
    const meta = { path: '/any/path', length: 9n };
    expect(await ask((callback) => client.setMeta({ digest, meta }, callback))).toEqual({});
    expect(await ask((callback) => client.remove({ repository, digest }, callback))).toEqual({});
    expect(asked).toEqual([
      ['contains', repository, digest],
      ['add', repository, digest],
      ['setMeta', digest, { path: '/any/path', length: 9 }],
      ['remove', repository, digest],
    ]);
  });

  it('gives the observer the request metadata', async () => {
    const { connect, observed } = await startServer();
    const metadata = new Metadata();
    metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    await ask((callback) => connect().exists({ repository, digest, maxAge: undefined }, metadata, callback));
    const call = await observed.begun(0);
    expect(call.header('traceparent')).toEqual(['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01']);
    expect(call.header('tracestate')).toEqual([]);
  });

  it('refuses a request beyond 1 MiB and keeps serving', async () => {
    const { connect, observed } = await startServer();
    const client = connect();
    const digests = Array.from({ length: 15_000 }, () => digest);
    const refused = await failure(
      ask((callback) => client.findMissing({ repository, digests, maxAge: undefined }, callback)),
    );
    expect(refused.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(observed.calls).toHaveLength(0);
    await ask((callback) => client.exists({ repository, digest, maxAge: undefined }, callback));
  });
});
