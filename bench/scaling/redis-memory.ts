/**
 * What a million layers take in Redis: the server's own count of its memory,
 * before and after our cache has recorded so many, a registry has, and both
 * have in the same Redis; scaled to a million, of which a thirty-second fills
 * Redis' tables as far. In few large repositories or
 * many small ones, and with hashes kept compact or not.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { LayerInfoCache } from '../../src/cache/layer-info-cache.js';
import { openCache } from '../../src/cache/open.js';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { RedisServer } from '../../test/parts/redis-server.ts';
import { provide } from '../packages.ts';

interface Writers {
  readonly cache: LayerInfoCache;
  readonly redis: Redis;
}

type Write = (to: Writers, repository: string, digest: Digest, length: number) => Promise<unknown>;

const memberships: Write = ({ cache }, repository, digest) => cache.add(repository, digest);

const ours: Write = ({ cache }, repository, digest, length) =>
  cache.record(repository, digest, digest, { path: blobPath(digest), length });

/** As a push through docker-registry 2.8.2 leaves it. */
const registrys: Write = ({ redis }, repository, digest, length) => {
  const mediatype = 'application/octet-stream';
  return Promise.all([
    redis.sadd(`repository::${repository}::blobs`, digest),
    redis.hset(`blobs::${digest}`, 'digest', digest, 'size', length, 'mediatype', mediatype),
    redis.hset(`repository::${repository}::blobs::${digest}`, 'mediatype', mediatype),
  ]);
};

const both: Write = async (...layer) => {
  await registrys(...layer);
  await ours(...layer);
};

const writes: readonly (readonly [name: string, write: Write])[] = [
  ['memberships', memberships],
  ['ours', ours],
  ["registry's", registrys],
  ['both', both],
];
/** Layers of a repository; the last, that all are in one. */
const shapes = [1, 20, Number.POSITIVE_INFINITY];
/** A path takes 108 characters, and 64 is what Redis keeps compact unless told. */
const compact = ['--hash-max-listpack-value', '128'];
const atOnce = 1_000;
const unanswered = {
  timeoutMs: 30_000,
  onUp: () => {},
  onError: (error: Error) => console.error(error.message),
};

/** Bytes that a layer takes. */
async function bytesEach(
  write: Write,
  { layers, each, args }: { layers: number; each: number; args: readonly string[] },
): Promise<number> {
  const server = await RedisServer.start({ args });
  try {
    const [redis, cache] = await Promise.all([server.client(), openCache(server.url, unanswered)]);
    try {
      const before = await usedMemory(redis);
      for (let first = 0; first < layers; first += atOnce) {
        const indexes = Array.from({ length: Math.min(atOnce, layers - first) }, (_, at) => first + at);
        await Promise.all(
          indexes.map((index) => {
            const repository = `team/service-${Math.floor(index / each)}`;
            return write({ cache, redis }, repository, digestNumber(index), 30_000_000 + index);
          }),
        );
      }
      return ((await usedMemory(redis)) - before) / layers;
    } finally {
      await cache.close();
    }
  } finally {
    await server.stop();
  }
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}

function digestNumber(index: number): Digest {
  return digestOf('sha256', createHash('sha256').update(String(index)).digest('hex'));
}

export async function redisMemory(layers: number): Promise<void> {
  if (!provide(['redis-server']).has('redis-server')) throw new Error('it needs redis-server');
  const server = await RedisServer.start();
  const info = await (await server.client()).info('server').finally(() => server.stop());
  const version = /^redis_version:(\S+)/m.exec(info)?.[1] ?? '?';
  const count = layers.toLocaleString('en');
  console.log(
    `MiB of Redis ${version} for a million layers, each a digest of its own (measured with ${count})\n`,
  );
  console.log(`| layers in a repository | ${writes.map(([name]) => name).join(' | ')} |`);
  console.log(`|---|${writes.map(() => '---|').join('')}`);
  const rows = [
    ...shapes.map((each) => ({ each, args: [] })),
    { each: 20, args: compact },
    { each: Number.POSITIVE_INFINITY, args: compact },
  ];
  for (const { each, args } of rows) {
    const cells: string[] = [];
    for (const [, write] of writes) {
      const bytes = await bytesEach(write, { layers, each, args });
      cells.push(Math.round((bytes * 1_000_000) / 2 ** 20).toLocaleString('en'));
    }
    const shape = Number.isFinite(each) ? String(each) : 'all in one';
    const settings = args.length === 0 ? '' : `, \`${compact.join(' ').slice(2)}\``;
    console.log(`| ${[shape + settings, ...cells].join(' | ')} |`);
  }
}
