import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { defaultKeySetUrlSettings, KeySetUrl, type KeySetUrlSettings } from '../../src/auth/key-set-url.js';
import { KeysUnavailableError } from '../../src/auth/principal.js';

const setOf = (...kids: string[]) =>
  JSON.stringify({
    keys: kids.map((kid) => ({
      ...{ kty: 'EC', crv: 'P-256', kid },
      x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
      y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
    })),
  });

/** A key set behind a real server, which answers as the test says. */
async function keySet(settings: Partial<KeySetUrlSettings> = {}) {
  let answer: RequestListener = (_request, response) => response.end(setOf('one'));
  const told: string[] = [];
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys?secret=hunter2`;
  const keys = new KeySetUrl(
    url,
    { changed: () => told.push('changed'), failed: (error) => told.push(String(error)) },
    { ...defaultKeySetUrlSettings, coolDownMs: 0, ...settings },
  );
  onTestFinished(() => keys.close());
  return {
    keys,
    told,
    asked,
    answers: (listener: RequestListener) => {
      answer = listener;
    },
  };
}

it('is requested when a token names a key, and again only for a key that it lacks', async () => {
  const { keys, told, asked, answers } = await keySet();
  expect(await keys.keyFor('one')).toMatchObject({ kty: 'EC' });
  await keys.keyFor('one');
  expect(asked).toHaveLength(1);
  answers((_request, response) => response.end(setOf('one', 'two')));
  expect(await Promise.all([keys.keyFor('two'), keys.keyFor('two')])).toMatchObject([
    { kty: 'EC' },
    { kty: 'EC' },
  ]);
  expect(asked).toHaveLength(2);
  expect(told).toEqual(['changed', 'changed']);
});

it('is not requested within the cool-down, whatever keys tokens name', async () => {
  const { keys, asked } = await keySet({ coolDownMs: 60_000 });
  await keys.keyFor('one');
  for (let guess = 0; guess < 100; guess++) expect(await keys.keyFor(`guess ${guess}`)).toBeUndefined();
  expect(asked).toHaveLength(1);
});

it.each<[string, RequestListener, RegExp]>([
  ['an error', (_, response) => response.writeHead(500).end('hunter2'), /^Error: the answer is 500$/],
  ['something else', (_, response) => response.end('hunter2'), /no JSON Web Key Set/],
  ['no keys', (_, response) => response.end('{"keys": []}'), /no public key/],
  ['another address', (_, response) => response.writeHead(302, { location: '/other' }).end(), /fetch failed/],
  ['too much', (_, response) => response.end(Buffer.alloc(300 << 10, ' ')), /larger than 262144 bytes/],
  [
    'half of it',
    (_, response) => response.writeHead(200, { 'content-length': 100 }).write('{', () => response.destroy()),
    /terminated/,
  ],
  ['nothing', () => {}, /timeout/],
  ['drops', (_, response) => void setInterval(() => response.write(' '), 20).unref(), /timeout/],
])(
  'when the answer is %s the keys of before stay, and nothing of the address is told',
  async (_, bad, message) => {
    const { keys, told, asked, answers } = await keySet({ timeoutMs: 200 });
    await keys.refresh();
    answers(bad);
    await keys.refresh();
    expect(told).toEqual(['changed', expect.stringMatching(message)]);
    expect(told.join()).not.toContain('hunter2');
    expect(await keys.keyFor('one')).toMatchObject({ kty: 'EC' });
    // Whether the issuer has it nobody can tell now.
    await expect(keys.keyFor('two')).rejects.toThrow(KeysUnavailableError);
    expect(new Set(asked)).toEqual(new Set(['/keys?secret=hunter2']));
  },
);

it('that could not be fetched is requested again, and then is used', async () => {
  const { keys, told, answers } = await keySet({ coolDownMs: 20 });
  answers((_request, response) => response.writeHead(503).end());
  await expect(keys.keyFor('one')).rejects.toThrow(KeysUnavailableError);
  answers((_request, response) => response.end(setOf('one')));
  await expect.poll(() => told.at(-1)).toBe('changed');
  expect(await keys.keyFor('one')).toMatchObject({ kty: 'EC' });
});

it('is as old as its last successful request; until there was one, as it has been wanted', async () => {
  const { keys, answers } = await keySet();
  const older = async () => {
    const age = keys.ageMs;
    await expect.poll(() => keys.ageMs).toBeGreaterThan(age);
  };
  answers((_request, response) => response.writeHead(503).end());
  await older();
  const before = performance.now();
  const wanted = keys.ageMs;
  await keys.refresh();
  expect(keys.ageMs).toBeGreaterThanOrEqual(wanted);
  answers((_request, response) => response.end(setOf('one')));
  await keys.refresh();
  expect(keys.ageMs).toBeLessThanOrEqual(performance.now() - before);
  // The same set again is as young.
  await older();
  const again = performance.now();
  await keys.refresh();
  expect(keys.ageMs).toBeLessThanOrEqual(performance.now() - again);
});

it('is requested again by itself, so that a revoked key counts no longer', async () => {
  const { keys, told, answers } = await keySet({ maxAgeMs: 30, coolDownMs: 60_000 });
  await keys.refresh();
  answers((_request, response) => response.end(setOf('two')));
  await expect.poll(() => told).toEqual(['changed', 'changed']);
  expect(await keys.keyFor('one')).toBeUndefined();
});

it('once closed it makes no request, and ends the running one', async () => {
  const { keys, told, answers } = await keySet();
  answers(() => {});
  const refreshing = keys.refresh();
  keys.close();
  await refreshing;
  expect(told).toEqual([]);
});
