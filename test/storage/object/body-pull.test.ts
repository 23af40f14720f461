import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { BodyPull } from '../../../src/storage/object/body-pull.js';

const kib = 1024;
const chunk = 64 * kib;

/** As many chunks as a socket would bring, each filled with its number, and how many were taken. */
function body(chunks: number): { readonly stream: Readable; readonly made: () => number } {
  let made = 0;
  const stream = new Readable({
    highWaterMark: 16 * kib,
    read() {
      this.push(made === chunks ? null : Buffer.alloc(chunk, made++));
    },
  });
  return { stream, made: () => made };
}

async function settled(): Promise<void> {
  for (let count = 0; count < 50; count += 1) await turn();
}

it.each([
  [0, 1],
  [63 * kib, 1],
  [256 * kib, 5],
  [512 * kib, 9],
])(
  'between two reads, with %d bytes ahead, at most %d chunks are taken and one waits',
  async (ahead, most) => {
    const { stream, made } = body(100);
    const pull = new BodyPull(stream, () => ahead);
    await settled();
    expect(made()).toBeLessThanOrEqual(1);
    expect(await pull.read(Buffer.alloc(1000))).toBe(1000);
    await settled();
    expect(made()).toBeLessThanOrEqual(most + 1);
    expect(made()).toBeGreaterThanOrEqual(most - 1);
    pull.release(1);
  },
);

it('what is ahead becomes less when more must share it', async () => {
  const { stream, made } = body(100);
  let ahead = 512 * kib;
  const pull = new BodyPull(stream, () => ahead);
  await pull.read(Buffer.alloc(chunk));
  await settled();
  const before = made();
  ahead = 0;
  for (let count = 0; count < 6; count += 1) await pull.read(Buffer.alloc(chunk));
  await settled();
  expect(made()).toBeLessThanOrEqual(before + 1);
  pull.release(1);
});

it.each([1000, chunk, 100_000, 700_000])('gives every byte in order to buffers of %d', async (size) => {
  const { stream } = body(20);
  const pull = new BodyPull(stream, () => 512 * kib);
  const parts: Buffer[] = [];
  for (;;) {
    const into = Buffer.alloc(size);
    const count = await pull.read(into);
    if (count === 0) break;
    parts.push(into.subarray(0, count));
    if (parts.length % 3 === 0) await turn();
  }
  const expected = Buffer.concat(Array.from({ length: 20 }, (_, index) => Buffer.alloc(chunk, index)));
  expect(Buffer.concat(parts).equals(expected)).toBe(true);
});

it('a failure waits until all that came before it has been given', async () => {
  const { stream } = body(100);
  const pull = new BodyPull(stream, () => 512 * kib);
  await pull.read(Buffer.alloc(1000));
  await settled();
  const reason = new Error('reset');
  stream.destroy(reason);
  await settled();
  let given = 0;
  await expect(
    (async () => {
      for (;;) given += await pull.read(Buffer.alloc(50_000));
    })(),
  ).rejects.toBe(reason);
  expect(given).toBeGreaterThan(400 * kib);
});
