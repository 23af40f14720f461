/**
 * Clients that do what no gRPC library does. Whatever they do, others are
 * answered meanwhile, and memory and descriptors stay bounded.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it, onTestFinished } from 'vitest';
import { errorCodes } from '../../src/http2/error-codes.js';
import type { Digest } from '../../src/reference/digest.js';
import { callFrames, preface, settingsFrame, types } from '../parts/http2-frames.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess, transportOfRun } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RawConnection } from '../parts/raw-connection.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { HostileClients } from './hostile-clients.js';

const mib = 1 << 20;
const repository = repositoryNamed('library/app');

/** All that the bounds allow and the garbage beside it; without them one flood alone took more. */
const mostMib = 600;

let tree: TemporaryTree;
let server: LayercacheProcess;
let digest: Digest;
let hostile: HostileClients;
const report: Record<string, string | number>[] = [];
beforeAll(async () => {
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repository, Buffer.from('a layer'));
  const large = await pushLayer(tree, repository, Buffer.alloc(32 * mib, 'large'));
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`, '--access-log=off']);
  await server.readyz(200);
  hostile = new HostileClients({ address: server.listen, repository, digest, large });
});
afterEach(() => hostile?.leave());
afterAll(async () => {
  console.table(report);
  await server?.stop();
  await tree?.delete();
});

function descriptors(): number {
  return readdirSync(`/proc/${server.pid}/fd`).length;
}

function residentMib(): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, 'latin1')) ?? [];
  return Number(kib) / 1024;
}

/** Asks again and again; each answer must be the right one. */
class Bystander {
  answers = 0;
  longest = 0;
  readonly #client = new LayerClient(server.listen);
  #stopped = false;
  readonly #asking = this.#ask();

  async #ask(): Promise<void> {
    while (!this.#stopped) {
      const begun = performance.now();
      expect((await this.#client.exists(repository, digest)).exists).toBe(true);
      this.longest = Math.max(this.longest, performance.now() - begun);
      this.answers++;
      await delay(5);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#asking;
    this.#client.close();
  }
}

const names = Object.keys(new HostileClients({ address: '', repository: '', digest: '', large: '' }).attacks);

/** After which the server has ended every connection by itself. */
const endings = /garbage|HTTP|rapid|flood|overflow|streams that are not|more calls|a mebibyte/;

/** What the direct transport tells those that it ends; an attacker who reads nothing is told nothing. */
const { protocolError, flowControlError, enhanceYourCalm } = errorCodes;
const codes: Readonly<Record<string, number>> = {
  'garbage bytes': protocolError,
  'HTTP/1.1': protocolError,
  'a rapid reset': enhanceYourCalm,
  'a flood of CONTINUATIONs without bytes': enhanceYourCalm,
  'a flood of CONTINUATIONs': enhanceYourCalm,
  'a flood of pings': enhanceYourCalm,
  'a flood of settings': enhanceYourCalm,
  'a flood of priorities': enhanceYourCalm,
  'a flood of frames of unknown types': enhanceYourCalm,
  'a flood of DATA without bytes': enhanceYourCalm,
  'windows of one byte': enhanceYourCalm,
  'windows that overflow': flowControlError,
  'frames for streams that are not': protocolError,
  'more calls than the connection may have': enhanceYourCalm,
};

/** Whether every connection is at its end, and none was told another code. */
function isEndedWith(code: number): boolean {
  return [...hostile.ends].every((end) => end === code || end === 'closed');
}

it.each(names)('others are served, and nothing is left behind: %s', async (name) => {
  const before = descriptors();
  const bystander = new Bystander();
  await hostile.attacks[name]?.();
  await bystander.stop();
  expect(bystander.answers).toBeGreaterThan(0);
  expect(residentMib()).toBeLessThan(mostMib);
  report.push({
    name,
    'longest answer beside it, ms': Math.round(bystander.longest),
    'resident, MiB': Math.round(residentMib()),
    'its connections': [...hostile.ends]
      .map((end) => (typeof end === 'number' ? `GOAWAY ${end}` : end))
      .join(', '),
  });
  if (endings.test(name)) await expect.poll(() => [...hostile.ends]).not.toContain('open');
  const code = transportOfRun === 'direct' ? codes[name] : undefined;
  // What was still under way may end the connection before the client reads why.
  if (code !== undefined) await expect.poll(() => isEndedWith(code)).toBe(true);
  hostile.leave();
  await expect.poll(descriptors, { timeout: 5000 }).toBeLessThanOrEqual(before);
});

it('others are told their health while watches of three connections never end', async () => {
  await hostile.attacks['health watches that never end']?.();
  const probe = await RawConnection.open(server.listen);
  onTestFinished(() => probe.destroy());
  const check = callFrames('/grpc.health.v1.Health/Check', 1, Buffer.alloc(0));
  await probe.write(Buffer.concat([preface, settingsFrame(), check]));
  await probe.until((frames) => frames.some(({ type, stream }) => type === types.data && stream === 1));
});
