/** Rule 7: however many first Fetches of one blob version run at once, it is hashed once. */
import { Hash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LayerReader } from '../../src/layer/layer-service.js';
import type { VerifyMode } from '../../src/layer/verification.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { digestFor, LayerWorld } from '../parts/layer-world.js';

const bytes = '0123456789abcdef';
const flipped = '0123456789abcdeg';

/** The bytes that were hashed, by whoever it was. */
let hashed: number;
beforeEach(() => {
  const update = Hash.prototype.update;
  vi.spyOn(Hash.prototype, 'update').mockImplementation(function (this: Hash, data, ...more) {
    hashed += Buffer.from(data as Uint8Array).length;
    return Reflect.apply(update, this, [data, ...more]);
  });
});
afterEach(() => vi.restoreAllMocks());

/** A world with a layer in storage that nobody has read yet; what `digestFor` hashes is not counted. */
function unread(options: { content?: string; verify?: VerifyMode; smallLayersBytes?: number } = {}) {
  const { content = bytes, ...world } = options;
  const made = new LayerWorld(world);
  const digest = digestFor(bytes);
  made.driver.put(blobPath(digest), content);
  made.driver.put(linkPath(made.repository, digest), digest);
  hashed = 0;
  return { world: made, digest };
}

/** One client: it reads as far as it is told to. */
class Client {
  received = '';
  readonly #layer: LayerReader;

  constructor(layer: LayerReader) {
    this.#layer = layer;
  }

  static async of(world: LayerWorld, digest: Digest): Promise<Client> {
    return new Client(await world.fetch(digest));
  }

  /** Reads `count` bytes, or to the end; says whether anything was left to read. */
  async read(count: number): Promise<boolean> {
    const into = Buffer.alloc(count);
    const got = await this.#layer.read(into);
    this.received += into.toString('latin1', 0, got);
    return got > 0;
  }

  async rest(chunk = 4): Promise<string> {
    while (await this.read(chunk));
    await this.close();
    return this.received;
  }

  close(): Promise<void> {
    return this.#layer.close();
  }
}

function crowd(world: LayerWorld, digest: Digest, count = 12): Promise<Client[]> {
  return Promise.all(Array.from({ length: count }, () => Client.of(world, digest)));
}

describe('first Fetches of one blob at once', () => {
  it('rule 7: hash it once, whatever pieces each reads', async () => {
    const { world, digest } = unread();
    const clients = await crowd(world, digest);
    const got = await Promise.all(clients.map((client, index) => client.rest(1 + (index % 5))));
    expect(new Set(got)).toEqual(new Set([bytes]));
    expect(hashed).toBe(bytes.length);
    expect(world.driver.openReaders).toBe(0);
  });

  it('rule 7: a corrupt blob is delivered whole to none of them, and reported once', async () => {
    const { world, digest } = unread({ content: flipped });
    const clients = await crowd(world, digest);
    const ends = await Promise.allSettled(clients.map((client) => client.rest()));
    for (const end of ends) expect(end).toMatchObject({ reason: { reason: 'BLOB_CORRUPT' } });
    for (const { received } of clients) expect(received).toBe(flipped.slice(0, 12));
    expect(hashed).toBe(bytes.length);
    expect(world.witness.corruptions).toEqual([digest]);
    expect(await world.cache.meta(digest)).toBeUndefined();
  });

  it('rule 7: the one that is ahead leaves, and the others take over where it was', async () => {
    const { world, digest } = unread();
    const [leader, ...others] = await crowd(world, digest, 3);
    await leader?.read(10);
    await leader?.close();
    expect(hashed).toBe(10);
    expect(await Promise.all(others.map((client) => client.rest()))).toEqual([bytes, bytes]);
    expect(hashed).toBe(bytes.length);
  });

  it('rule 7: the one that is ahead stalls, and no other waits for it', async () => {
    const { world, digest } = unread();
    const [leader, ...others] = await crowd(world, digest, 3);
    await leader?.read(10);
    expect(await Promise.all(others.map((client) => client.rest()))).toEqual([bytes, bytes]);
    expect(await leader?.rest()).toBe(bytes);
    expect(hashed).toBe(bytes.length);
  });

  it('rule 7: one slower than the rest completes after the others have ended', async () => {
    const { world, digest } = unread();
    const [slow, ...others] = await crowd(world, digest, 3);
    await slow?.read(2);
    await Promise.all(others.map((client) => client.rest()));
    expect(await slow?.rest(1)).toBe(bytes);
    expect(hashed).toBe(bytes.length);
  });

  it('rule 7: one that begins when the first is halfway hashes only what that one has not', async () => {
    const { world, digest } = unread();
    const first = await Client.of(world, digest);
    await first.read(8);
    const second = await Client.of(world, digest);
    expect(await second.rest()).toBe(bytes);
    await first.close();
    expect(hashed).toBe(bytes.length);
    expect(await world.read(digest)).toBe(bytes);
    expect(hashed).toBe(bytes.length);
  });

  it('rule 7: all leave halfway, and the next hashes from the start', async () => {
    const { world, digest } = unread();
    const clients = await crowd(world, digest, 3);
    await Promise.all(clients.map((client) => client.read(8)));
    await Promise.all(clients.map((client) => client.close()));
    hashed = 0;
    expect(await world.read(digest)).toBe(bytes);
    expect(hashed).toBe(bytes.length);
  });

  it('rule 7: a blob that changes meanwhile is DATA_LOSS to readers of the old version', async () => {
    const { world, digest } = unread();
    const [ahead, behind] = await crowd(world, digest, 2);
    await ahead?.read(8);
    world.driver.put(blobPath(digest), bytes);
    const young = await Client.of(world, digest);
    await expect(behind?.rest()).rejects.toMatchObject({ reason: 'BLOB_TRUNCATED' });
    expect(behind?.received).toBe(bytes.slice(0, 12));
    expect(await young.rest()).toBe(bytes);
    await ahead?.close();
    await behind?.close();
    expect(world.witness.corruptions).toEqual([]);
  });

  it('rule 6: a dispute that came up after a hashing began is decided by a later one', async () => {
    const { world, digest } = unread();
    const early = await Client.of(world, digest);
    await early.read(8);
    await world.cache.setMeta(digest, { path: blobPath(digest), length: 5 });
    const late = await Client.of(world, digest);
    expect(await early.rest()).toBe(bytes);
    expect(await world.cache.meta(digest)).toMatchObject({ length: 5 });
    expect(await late.rest()).toBe(bytes);
    expect(await world.cache.meta(digest)).toMatchObject({ length: bytes.length });
    expect(hashed).toBe(2 * bytes.length);
  });

  it('rule 7: with --verify always each read is hashed', async () => {
    const { world, digest } = unread({ verify: 'always' });
    const clients = await crowd(world, digest, 3);
    await Promise.all(clients.map((client) => client.rest()));
    expect(hashed).toBe(3 * bytes.length);
  });

  it('rule 7: a small layer is kept by the reader that read it whole', async () => {
    const { world, digest } = unread({ smallLayersBytes: 1 << 20 });
    const clients = await crowd(world, digest, 3);
    await Promise.all(clients.map((client) => client.rest()));
    const opened = world.driver.count('open');
    expect(await world.read(digest)).toBe(bytes);
    expect(world.driver.count('open')).toBe(opened);
    expect(hashed).toBe(bytes.length);
  });
});
