import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { FetchRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { dataFrom, fetchFrames, resetFrame } from '../parts/http2-frames.js';
import { ScriptedLayer, type ScriptedLayers } from '../rpc/scripted-layers.js';
import { fetchRequest } from '../rpc/started-server.js';

/**
 * A client takes nothing of its Fetch and resets it while the connection still
 * sends from the stream's buffer; then others fetch another layer. What the
 * connection brings when the client reads on must be of its own layer alone.
 *
 * @param socket to the server, with a window that only the socket bounds
 * @param fetchOther fetches a layer as another client
 */
export async function expectOwnBytesAfterReset(
  socket: Socket,
  layers: ScriptedLayers,
  fetchOther: () => Promise<unknown>,
): Promise<void> {
  const mine = new ScriptedLayer(Buffer.alloc(64 << 20, 0x11));
  layers.fetch = async () => mine;
  socket.pause();
  socket.write(fetchFrames(1, FetchRequest.encode(fetchRequest()).finish()));
  for (let given = -1; mine.given === 0 || given !== mine.given; await delay(100)) given = mine.given;
  expect(mine.given).toBeLessThan(64 << 20);
  socket.write(resetFrame(1));
  await mine.closed;

  // Streams that take the pool's buffers, those of the first size and up.
  layers.fetch = async () => new ScriptedLayer(Buffer.alloc(40 << 20, 0xee));
  for (let i = 0; i < 2; i++) await fetchOther();

  const received = dataFrom(socket, 1);
  socket.resume();
  await delay(300);
  socket.end();
  const bytes = Buffer.concat(await received);
  expect(bytes.length).toBeGreaterThan(mine.given / 2);
  expect(bytes.includes(0xee)).toBe(false);
}
