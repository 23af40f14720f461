/** What the client makes of a server or a proxy that does not keep its word. */
import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { LayerCacheClient, type LayerCacheError } from '../../src/client/layer-cache-client.js';
import { chunkOf, failWith, headerFor, type Script, ScriptedService } from '../parts/scripted-service.js';

const bytes = Buffer.from('0123456789');
const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function connect(script: Script, maxAttempts?: number) {
  const service = await ScriptedService.start(script);
  const client = new LayerCacheClient({
    address: service.address,
    ...(maxAttempts !== undefined && { maxAttempts }),
  });
  onTestFinished(() => {
    client.close();
    service.stop();
  });
  return { client, service };
}

/** Reads to the end or to the error; `text` is what came before. */
async function read(client: LayerCacheClient, options = {}) {
  let text = '';
  try {
    for await (const chunk of await client.fetch('a/b', digest, options)) text += Buffer.from(chunk);
    return { text };
  } catch (error) {
    const { code, reason } = error as LayerCacheError;
    return { text, code, reason };
  }
}

it('the last chunk of bytes that do not hash right is held back', async () => {
  const { client, service } = await connect({
    fetch: (call) => {
      call.write(headerFor(call, digest, 10));
      for (const part of ['01234', '56', '78X']) call.write(chunkOf(Buffer.from(part)));
      call.end();
    },
  });
  expect(await read(client)).toEqual({ text: '0123456', code: 'DATA_LOSS', reason: 'BLOB_CORRUPT' });
  expect(await read(client, { verify: false })).toEqual({ text: '012345678X' });
  expect(service.asked).toEqual(['fetch at 0', 'fetch at 0']);
});

it('content of another digest than was asked for is refused, though it hashes to its own', async () => {
  const other = Buffer.from('other');
  const { client } = await connect({
    fetch: (call) => {
      const canonical = `sha256:${createHash('sha256').update(other).digest('hex')}`;
      call.write(headerFor(call, canonical, other.length));
      call.write(chunkOf(other), () => call.end());
    },
  });
  expect(await read(client)).toEqual({ text: '', code: 'DATA_LOSS', reason: 'BLOB_CORRUPT' });
});

it.each([
  ['fewer bytes than promised', ['01234'], '01234'],
  ['more bytes than promised', ['01234', '56789X'], '01234'],
])('%s is DATA_LOSS, though the stream ends in OK', async (_, parts, text) => {
  const { client } = await connect({
    fetch: (call) => {
      call.write(headerFor(call, digest, 10));
      for (const part of parts) call.write(chunkOf(Buffer.from(part)));
      call.end();
    },
  });
  expect(await read(client)).toEqual({ text, code: 'DATA_LOSS', reason: 'BLOB_TRUNCATED' });
});

it('a layer that has another length on resume is DATA_LOSS', async () => {
  const { client } = await connect({
    fetch: (call) => {
      const isFirst = call.request.offset === 0n;
      call.write(headerFor(call, digest, isFirst ? 10 : 11));
      call.write(chunkOf(bytes.subarray(0, 5)), () => failWith(call, status.UNAVAILABLE));
    },
  });
  expect(await read(client)).toMatchObject({ code: 'DATA_LOSS', reason: 'BLOB_TRUNCATED' });
});

it.each([status.UNAVAILABLE, status.RESOURCE_EXHAUSTED, status.INTERNAL, status.CANCELLED])(
  'a stream that ends in %i is resumed at the byte that it reached',
  async (code) => {
    const { client, service } = await connect({
      fetch: (call) => {
        const from = Number(call.request.offset);
        call.write(headerFor(call, digest, 10));
        const chunk = chunkOf(bytes.subarray(from, from + 4));
        if (from + 4 < 10) call.write(chunk, () => failWith(call, code));
        else call.write(chunk, () => call.end());
      },
    });
    expect(await read(client)).toEqual({ text: '0123456789' });
    expect(service.asked).toEqual(['fetch at 0', 'fetch at 4', 'fetch at 8']);
  },
);

it('a stream that brings nothing is given up after so many tries', async () => {
  const { client, service } = await connect({
    fetch: (call) => {
      call.write(headerFor(call, digest, 10), () => failWith(call, status.UNAVAILABLE));
    },
  });
  expect(await read(client, { maxResumes: 2 })).toMatchObject({ text: '', code: 'UNAVAILABLE' });
  expect(service.asked).toHaveLength(3);
});

it('a stream that falls silent is opened anew', async () => {
  const { client, service } = await connect({
    fetch: (call) => {
      const from = Number(call.request.offset);
      call.write(headerFor(call, digest, 10));
      if (from === 0) call.write(chunkOf(bytes.subarray(0, 5)));
      else call.write(chunkOf(bytes.subarray(from)), () => call.end());
    },
  });
  expect(await read(client, { idleTimeoutMs: 200 })).toEqual({ text: '0123456789' });
  expect(service.asked).toEqual(['fetch at 0', 'fetch at 5']);
});

it('a call that fails in passing is made again, by the service config', async () => {
  let calls = 0;
  const script: Script = {
    stat: (_, done) => {
      calls += 1;
      if (calls % 3 !== 0) done({ code: status.UNAVAILABLE, details: 'in passing' });
      else done(null, { digest, length: 10n, source: 1 });
    },
  };
  const { client, service } = await connect(script);
  expect(await client.stat('a/b', digest)).toEqual({ digest, length: 10, source: 'cache' });
  expect(service.asked).toHaveLength(3);
  const { client: impatient } = await connect(script, 1);
  await expect(impatient.stat('a/b', digest)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(calls).toBe(4);
});
