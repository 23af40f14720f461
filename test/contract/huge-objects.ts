/** What every driver of an object store makes of an object whose positions do not fit 32 bits. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rest } from '../parts/blob-rest.js';
import { ProxiedObjectStore, type StoreBehind } from '../parts/proxied-object-store.js';

const live = new AbortController().signal;
const path = '/docker/registry/v2/blob';
const size = 6 * 2 ** 30;

/** Registers the tests; the bytes are the proxy's own, the store holds none of them. */
export function hugeObjectSuite(name: string, start: () => Promise<StoreBehind>): void {
  describe(`a blob of 6 GiB in ${name}`, () => {
    let world: ProxiedObjectStore;
    beforeAll(async () => {
      world = await ProxiedObjectStore.start(await start());
      await world.store.put(path.slice(1), Buffer.from('the tree is there'));
    });
    afterEach(() => world.reset());
    afterAll(() => world?.stop());

    /** Answers for an object whose byte at a position is the position's sum of bytes. */
    const answer = (asked: IncomingMessage, answer: ServerResponse): void => {
      const [from = 0, to = size - 1] = (
        /bytes=(\d+)-(\d+)?/.exec(world.store.rangeOf(asked.headers) ?? '') ?? []
      )
        .slice(1)
        .map((text) => (text === undefined ? size - 1 : Number(text)));
      const length = Math.min(to, size - 1) - from + 1;
      const headers = { etag: '"huge"', 'accept-ranges': 'bytes' };
      if (asked.method === 'HEAD') answer.writeHead(200, { ...headers, 'content-length': size }).end();
      else if (from >= size) answer.writeHead(416).end();
      else {
        const told = {
          'content-range': `bytes ${from}-${from + length - 1}/${size}`,
          'content-length': length,
        };
        answer.writeHead(206, { ...headers, ...told });
        answer.end(expected(from, Math.min(length, 1000)), () => asked.socket.destroy());
      }
    };

    it.each([0, 2 ** 31 - 10, 2 ** 32 - 10, 2 ** 32 + 5, size - 500])(
      'is read from byte %d on, and resumed there',
      async (offset) => {
        const driver = await world.open();
        world.proxy.fault = () => ({ answer });
        const blob = await driver.open(path, { offset, limit: 2000 }, live);
        expect(blob.size).toBe(size);
        // Each answer breaks off after a thousand bytes.
        const length = Math.min(2000, size - offset);
        expect((await rest(blob.reader)).equals(expected(offset, length))).toBe(true);
        await blob.reader.close();
      },
    );

    it('is told by its size, and by a range beyond its end', async () => {
      const driver = await world.open();
      world.proxy.fault = () => ({ answer });
      expect(await driver.stat(path, live)).toEqual({ size, version: '"huge"' });
      const beyond = await driver.open(path, { offset: size + 1, limit: 0 }, live);
      expect(beyond.size).toBe(size);
      expect(await beyond.reader.read(Buffer.alloc(1))).toBe(0);
      expect(world.proxy.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET', 'HEAD']);
      await beyond.reader.close();
    });
  });
}

function expected(from: number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => byteAt(from + index)));
}

function byteAt(position: number): number {
  let sum = 0;
  for (let rest = position; rest > 0; rest = Math.floor(rest / 256)) sum += rest % 256;
  return sum % 256;
}
