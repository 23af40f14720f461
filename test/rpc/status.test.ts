import { type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { KeysUnavailableError, ScopeMissingError, TokenInvalidError } from '../../src/auth/principal.js';
import {
  CacheUnavailableError,
  DataLossError,
  DigestFailedError,
  LayerUnknownError,
  MetaUnknownError,
  OffsetBeyondEndError,
  StorageUnavailableError,
  UnverifiedError,
} from '../../src/layer/errors.js';
import { digest, otherDigest, repository } from './scripted-layers.js';
import { ask, detailsOf, failure, fetchAll, startServer } from './started-server.js';

const inside = new Error('redis://:hunter2@10.0.0.7:6379 /srv/registry');

describe('every error of the domain has its status and its details', () => {
  const table: [reason: string, error: Error, code: status][] = [
    ['LAYER_UNKNOWN', new LayerUnknownError(), status.NOT_FOUND],
    ['META_UNKNOWN', new MetaUnknownError(), status.NOT_FOUND],
    ['OFFSET_BEYOND_END', new OffsetBeyondEndError(7, 5), status.OUT_OF_RANGE],
    ['LAYER_UNVERIFIED', new UnverifiedError('LAYER_UNVERIFIED', 'not there'), status.FAILED_PRECONDITION],
    ['META_UNVERIFIED', new UnverifiedError('META_UNVERIFIED', 'not so'), status.FAILED_PRECONDITION],
    ['BLOB_TRUNCATED', new DataLossError('BLOB_TRUNCATED', 'cut'), status.DATA_LOSS],
    ['BLOB_CORRUPT', new DataLossError('BLOB_CORRUPT', 'bad'), status.DATA_LOSS],
    ['LINK_CORRUPT', new DataLossError('LINK_CORRUPT', 'bad'), status.DATA_LOSS],
    ['CACHE_UNAVAILABLE', new CacheUnavailableError(inside), status.UNAVAILABLE],
    ['STORAGE_UNAVAILABLE', new StorageUnavailableError(inside), status.UNAVAILABLE],
    ['KEYS_UNAVAILABLE', new KeysUnavailableError(inside), status.UNAVAILABLE],
    ['TOKEN_INVALID', new TokenInvalidError('not ours'), status.UNAUTHENTICATED],
    ['SCOPE_MISSING', new ScopeMissingError('repository', 'pull'), status.PERMISSION_DENIED],
  ];

  function expectDetails(error: ServiceError, reason: string, thrown: Error, code: status): void {
    expect(error.code).toBe(code);
    expect(error.details).toBe(thrown.message);
    const details = detailsOf(error);
    expect(details).toMatchObject({ code, message: thrown.message, badRequest: undefined });
    expect(details?.info).toMatchObject({ domain: 'layercache', reason, metadata: {} });
    const delay = details?.retry?.retryDelay?.seconds;
    expect(delay).toBe(code === status.UNAVAILABLE ? 1n : undefined);
    expect(JSON.stringify([error.details, details?.info])).not.toMatch(/hunter2|10\.0\.0\.7|srv/);
  }

  it.each(table)('%s, of a unary call', async (reason, thrown, code) => {
    const { connect, layers, observed } = await startServer();
    layers.stat = () => Promise.reject(thrown);
    const error = await failure(
      ask((callback) => connect().stat({ repository, digest, maxAge: undefined }, callback)),
    );
    expectDetails(error, reason, thrown, code);
    expect((await observed.ended(0)).ends).toEqual([{ code: status[code], error: thrown }]);
  });

  it.each(table)('%s, of a stream', async (reason, thrown, code) => {
    const { connect, layers, observed } = await startServer();
    layers.fetch = () => Promise.reject(thrown);
    expectDetails(await failure(fetchAll(connect())), reason, thrown, code);
    expect((await observed.ended(0)).ends).toEqual([{ code: status[code], error: thrown }]);
  });
});

describe('bad input', () => {
  it('names the field in a BadRequest beside the reason', async () => {
    const { connect, observed } = await startServer();
    const digests = [digest, 'nonsense'];
    const error = await failure(
      ask((callback) => connect().findMissing({ repository, digests, maxAge: undefined }, callback)),
    );
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    const details = detailsOf(error);
    expect(details?.info).toMatchObject({ domain: 'layercache', reason: 'DIGEST_INVALID' });
    expect(details?.badRequest?.fieldViolations).toMatchObject([
      { field: 'digests[1]', reason: 'DIGEST_INVALID', description: error.details },
    ]);
    expect(details?.retry).toBeUndefined();
    expect(await observed.ended(0)).toMatchObject({ repository, digest: undefined });
  });

  it('an empty message of every RPC is INVALID_ARGUMENT and reaches nothing', async () => {
    const { connect, layers } = await startServer();
    const reached = () => Promise.reject(new Error('the domain was asked'));
    Object.assign(layers, {
      exists: reached,
      stat: reached,
      findMissing: reached,
      fetch: reached,
      contains: reached,
      add: reached,
      meta: reached,
      setMeta: reached,
      remove: reached,
    });
    const client = connect();
    const named = { repository: '', digest: '', maxAge: undefined };
    const errors = await Promise.all([
      failure(ask((callback) => client.exists(named, callback))),
      failure(ask((callback) => client.stat(named, callback))),
      failure(ask((callback) => client.findMissing({ ...named, digests: [] }, callback))),
      failure(fetchAll(client, named)),
      failure(ask((callback) => client.contains(named, callback))),
      failure(ask((callback) => client.add(named, callback))),
      failure(ask((callback) => client.getMeta(named, callback))),
      failure(ask((callback) => client.setMeta({ ...named, meta: undefined }, callback))),
      failure(ask((callback) => client.remove(named, callback))),
    ]);
    for (const error of errors) {
      expect(error.code).toBe(status.INVALID_ARGUMENT);
      expect(detailsOf(error)?.badRequest?.fieldViolations).toHaveLength(1);
    }
  });

  it('rule 18: neither message nor details nor record hold what failed the grammar', async () => {
    const { connect, observed } = await startServer();
    const secret = 'S3CRET-TOKEN';
    const named = { repository: secret, digest: secret, maxAge: undefined };
    const client = connect();
    const errors = [
      await failure(ask((callback) => client.exists(named, callback))),
      await failure(ask((callback) => client.exists({ ...named, repository }, callback))),
    ];
    for (const error of errors) {
      const bytes = Buffer.from(error.metadata.get('grpc-status-details-bin')[0] ?? '');
      expect(`${error.message} ${bytes.toString('latin1')}`).not.toContain(secret);
    }
    for (const index of [0, 1]) {
      const call = await observed.ended(index);
      expect(call).toMatchObject({ repository: index === 0 ? undefined : repository, digest: undefined });
      expect(String(call.ends[0]?.error)).not.toContain(secret);
    }
  });
});

it('rule 5: a digest that failed is named in ErrorInfo.metadata', async () => {
  const { connect, layers } = await startServer();
  layers.findMissing = () =>
    Promise.reject(new DigestFailedError(otherDigest, new StorageUnavailableError(inside)));
  const digests = [digest, otherDigest];
  const error = await failure(
    ask((callback) => connect().findMissing({ repository, digests, maxAge: undefined }, callback)),
  );
  expect(error.code).toBe(status.UNAVAILABLE);
  expect(detailsOf(error)?.info).toMatchObject({
    reason: 'STORAGE_UNAVAILABLE',
    metadata: { digest: otherDigest },
  });
  expect(detailsOf(error)?.retry).toBeDefined();
});

it.each([
  ['an Error', inside],
  ['a string', 'hunter2'],
  ['an error that looks like a status', Object.assign(new Error('hunter2'), { code: 5, details: 'hunter2' })],
])('a defect that throws %s is INTERNAL and tells nothing from inside', async (_what, thrown) => {
  const { connect, layers, observed } = await startServer();
  layers.exists = () => Promise.reject(thrown);
  layers.fetch = () => Promise.reject(thrown);
  const client = connect();
  const errors = [
    await failure(ask((callback) => client.exists({ repository, digest, maxAge: undefined }, callback))),
    await failure(fetchAll(client)),
  ];
  for (const error of errors) {
    expect(error).toMatchObject({ code: status.INTERNAL, details: 'internal error' });
    expect(detailsOf(error)?.info).toMatchObject({ domain: 'layercache', reason: 'INTERNAL' });
  }
  for (const index of [0, 1]) {
    expect((await observed.ended(index)).ends).toEqual([{ code: 'INTERNAL', error: thrown }]);
  }
});

it('a handler that throws before its first promise is INTERNAL too', async () => {
  const { connect, layers } = await startServer();
  layers.exists = () => {
    throw inside;
  };
  const error = await failure(
    ask((callback) => connect().exists({ repository, digest, maxAge: undefined }, callback)),
  );
  expect(error).toMatchObject({ code: status.INTERNAL, details: 'internal error' });
});
