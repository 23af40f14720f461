/** The endpoint as a hostile or unlucky client finds it; what events lead to is tested with the real registry. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CacheUnavailableError } from '../../src/layer/errors.js';
import { EventHandler } from '../../src/notifications/event-handler.js';
import type { NotificationObserver } from '../../src/notifications/notification-observer.js';
import { NotificationServer } from '../../src/notifications/notification-server.js';

const type = 'application/vnd.docker.distribution.events.v1+json';
const digest = `sha256:${'a'.repeat(64)}`;
const push = { action: 'push', target: { digest, repository: 'library/app' } };

class Recorded implements NotificationObserver {
  readonly lines: string[] = [];
  handled(action: string, result: string): void {
    this.lines.push(`${action} ${result}`);
  }
  failed(action: string): void {
    this.lines.push(`${action} failed`);
  }
  refused(status: number): void {
    this.lines.push(`refused ${status}`);
  }
}

type Reconcile = (repository: string, digest: string, signal: AbortSignal) => Promise<boolean>;

interface Started {
  readonly url: string;
  readonly port: number;
  readonly server: NotificationServer;
  readonly observed: string[];
}

async function start(
  reconcile: Reconcile,
  { token, timeoutMs = 10_000 }: { token?: string; timeoutMs?: number } = {},
): Promise<Started> {
  const observer = new Recorded();
  const handler = new EventHandler({ reconcile }, { read: async () => undefined });
  const server = new NotificationServer({ handler, observer, token: () => token, timeoutMs });
  const port = await server.listen('127.0.0.1', 0);
  onTestFinished(() => server.close());
  return { url: `http://127.0.0.1:${port}/events`, port, server, observed: observer.lines };
}

async function post(url: string, body: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await fetch(url, { method: 'POST', body, headers: { 'content-type': type, ...headers } });
  return response.status;
}

function envelope(...events: object[]): string {
  return JSON.stringify({ events });
}

const yes: Reconcile = async () => true;

describe('an envelope', () => {
  it('is answered once each of its events is carried out', async () => {
    const { url, observed } = await start(async (_, asked) => asked === digest);
    const gone = {
      action: 'delete',
      target: { digest: `sha256:${'b'.repeat(64)}`, repository: 'library/app' },
    };
    expect(await post(url, envelope(push, gone, { action: 'pull', target: push.target }))).toBe(200);
    expect(observed.toSorted()).toEqual(['delete removed', 'pull void', 'push recorded']);
  });

  it('without events is carried out', async () => {
    const { url } = await start(yes);
    expect(await post(url, envelope())).toBe(200);
  });

  it('is to be sent again when one of its events cannot be carried out', async () => {
    let isDown = true;
    const { url, observed } = await start(async () => {
      if (isDown) throw new CacheUnavailableError(undefined);
      return true;
    });
    const response = await fetch(url, {
      method: 'POST',
      body: envelope(push),
      headers: { 'content-type': type },
    });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    isDown = false;
    expect(await post(url, envelope(push))).toBe(200);
    expect(observed).toEqual(['push failed', 'push recorded']);
  });

  it('has a deadline, of which the work hears', async () => {
    const reasons: unknown[] = [];
    const { url } = await start(
      async (_repository, _digest, signal) => {
        await once(signal, 'abort');
        reasons.push(signal.reason);
        throw signal.reason;
      },
      { timeoutMs: 50 },
    );
    expect(await post(url, envelope(push))).toBe(503);
    expect(reasons).toMatchObject([{ name: 'TimeoutError' }]);
  });

  it('that is not carried out when the server stops is to be sent again', async () => {
    const begun = Promise.withResolvers<void>();
    const { url, server } = await start(async (_repository, _digest, signal) => {
      begun.resolve();
      await once(signal, 'abort');
      throw signal.reason;
    });
    const answered = post(url, envelope(push)).catch(() => 'cut');
    await begun.promise;
    await server.close();
    expect([503, 'cut']).toContain(await answered);
  });
});

describe('refused is', () => {
  it.each([
    ['another path', '/other', {}, envelope(push), 404],
    ['another type', '/events', { 'content-type': 'application/json' }, envelope(push), 415],
    ['what is no JSON', '/events', {}, '{', 400],
    ['what is no envelope', '/events', {}, '[]', 400],
    ['more than a mebibyte', '/events', {}, 'x'.repeat((1 << 20) + 1), 413],
  ])('%s', async (_, path, headers, body, status) => {
    const { url, observed } = await start(yes);
    expect(await post(new URL(path, url).href, body, headers)).toBe(status);
    expect(observed).toEqual([`refused ${status}`]);
  });

  it('more than a mebibyte that comes in pieces', async () => {
    const { url, observed } = await start(yes);
    const pieces = new ReadableStream({
      pull(controller) {
        controller.enqueue(randomBytes(64 << 10));
      },
    });
    const headers = { 'content-type': type };
    const asked = fetch(url, { method: 'POST', body: pieces, headers, duplex: 'half' } as RequestInit);
    // The client may meet the closed connection before it reads the answer.
    expect(await asked.then(({ status }) => status).catch(() => 413)).toBe(413);
    await expect.poll(() => observed).toEqual(['refused 413']);
  });

  it('another method', async () => {
    const { url } = await start(yes);
    const response = await fetch(url);
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
  });

  it.each([
    ['no token', {}],
    ['another token', { authorization: 'Bearer forged' }],
    ['a longer one', { authorization: 'Bearer the-token-and-more' }],
    ['one of another scheme', { authorization: 'Basic the-token' }],
  ])('%s', async (_, headers) => {
    const { url, observed } = await start(yes, { token: 'the-token' });
    expect(await post(url, envelope(push), headers)).toBe(401);
    expect(observed).toEqual(['refused 401']);
    expect(await post(url, envelope(push), { authorization: 'Bearer the-token' })).toBe(200);
  });
});

it('a client that leaves in the middle of its envelope leaves nothing behind', async () => {
  const { port, url, observed } = await start(yes);
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(
    `POST /events HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: 100\r\n\r\n{"ev`,
  );
  await new Promise(setImmediate);
  socket.destroy();
  expect(await post(url, envelope(push))).toBe(200);
  expect(observed).toEqual(['push recorded']);
});

it('others are answered beside a client that sends byte by byte', async () => {
  const { port, url } = await start(yes);
  const slow = connect(port, '127.0.0.1');
  onTestFinished(() => {
    slow.destroy();
  });
  await once(slow, 'connect');
  slow.write(`POST /events HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: 100\r\n\r\n{`);
  expect(await post(url, envelope(push))).toBe(200);
});

it('beyond 64 envelopes at once the rest is to be sent again', async () => {
  const release = Promise.withResolvers<void>();
  let running = 0;
  const { url } = await start(async () => {
    running += 1;
    await release.promise;
    return true;
  });
  const first = Array.from({ length: 64 }, () => post(url, envelope(push)));
  await expect.poll(() => running).toBe(64);
  expect(await post(url, envelope(push))).toBe(503);
  release.resolve();
  expect(new Set(await Promise.all(first))).toEqual(new Set([200]));
});
