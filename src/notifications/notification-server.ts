/**
 * The endpoint of distribution's webhook: `POST /events`. An envelope is
 * answered with 200 once all its events are carried out or known to be void,
 * and with 503 while cache or storage cannot be asked: the registry keeps it
 * and sends it again.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { LayerError } from '../layer/errors.js';
import { bearsToken } from './bearer-token.js';
import { EnvelopeError, type Event, isEnvelopeType, parseEnvelope } from './envelope.js';
import type { EventHandler } from './event-handler.js';
import type { NotificationObserver } from './notification-observer.js';

// Not imported, since that would read all that it exports: see the admin server.
const { createServer } = process.getBuiltinModule('node:http');

export interface NotificationParts {
  readonly handler: EventHandler;
  readonly observer: NotificationObserver;
  /** What a registry has to bear; `undefined` when anybody who reaches the endpoint may send. */
  readonly token: () => string | undefined;
  /** Milliseconds that one envelope may take. */
  readonly timeoutMs: number;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** As the registry's own clients have it; its events are some hundred bytes each. */
const maxBodyBytes = 1 << 20;
/** Envelopes at once; a registry sends one at a time. */
const maxEnvelopes = 64;
const maxConnections = 256;
const maxHeaderSize = 16 << 10;
/** Milliseconds for a request to come whole. */
const requestTimeoutMs = 10_000;
/** Milliseconds for which a registry may keep a connection without a request. */
const keepAliveTimeoutMs = 60_000;

const tryAgain: Answer = { status: 503, headers: { 'retry-after': '1' } };

export class NotificationServer {
  readonly #parts: NotificationParts;
  readonly #server: Server;
  readonly #closing = new AbortController();
  #envelopes = 0;

  constructor(parts: NotificationParts) {
    this.#parts = parts;
    this.#server = createServer(
      {
        maxHeaderSize,
        headersTimeout: requestTimeoutMs,
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: keepAliveTimeoutMs,
        connectionsCheckingInterval: 1000,
      },
      (request, response) => void this.#respond(request, response),
    );
    this.#server.maxConnections = maxConnections;
    // Also ends a client that never reads its answer.
    this.#server.timeout = Math.max(keepAliveTimeoutMs, parts.timeoutMs + requestTimeoutMs);
  }

  /** Listens; gives the port that was bound. Rejects when it cannot, with `code` `EADDRINUSE` for a port in use. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject);
        // A connection that could not be accepted does not end the server.
        this.#server.on('error', (error) => process.emitWarning(error));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Serves a connection that another process accepted. */
  take(socket: Socket): void {
    this.#server.emit('connection', socket);
  }

  /** Takes no more envelopes, and gives up on those that are not carried out yet: the registry sends them again. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the server is stopping'));
    const closed = new Promise<void>((resolve) => {
      // An error here only says that it was not listening.
      this.#server.close(() => resolve());
    });
    this.#server.closeIdleConnections();
    // One turn for the answers to leave.
    await new Promise(setImmediate);
    this.#server.closeAllConnections();
    await closed;
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      // The client has gone in the middle of its request: nobody is left to answer.
      if (request.destroyed && !request.complete) return;
      this.#parts.observer.failed('other', error);
      answer = tryAgain;
    }
    // What is left of a refused request is not read.
    const rest = request.complete ? {} : { connection: 'close' };
    response.writeHead(answer.status, { 'content-length': 0, ...rest, ...answer.headers });
    response.end();
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return this.#refused(refusal);
    if (this.#closing.signal.aborted || this.#envelopes >= maxEnvelopes) return tryAgain;
    this.#envelopes += 1;
    try {
      const text = await readBody(request);
      if (text === undefined) return this.#refused({ status: 413 });
      return await this.#carryOut(parseEnvelope(text));
    } catch (error) {
      if (error instanceof EnvelopeError) return this.#refused({ status: 400 });
      throw error;
    } finally {
      this.#envelopes -= 1;
    }
  }

  #refusal({ method, url = '/', headers }: IncomingMessage): Answer | undefined {
    if (url.split('?', 1)[0] !== '/events') return { status: 404 };
    if (method !== 'POST') return { status: 405, headers: { allow: 'POST' } };
    const token = this.#parts.token();
    if (token !== undefined && !bearsToken(headers.authorization, token)) {
      return { status: 401, headers: { 'www-authenticate': 'Bearer' } };
    }
    if (!isEnvelopeType(headers['content-type'])) return { status: 415 };
    return undefined;
  }

  #refused(answer: Answer): Answer {
    this.#parts.observer.refused(answer.status);
    return answer;
  }

  /** Goes on when the registry has stopped waiting: then it will send the envelope again, and find it done. */
  async #carryOut(events: readonly Event[]): Promise<Answer> {
    const { handler, observer, timeoutMs } = this.#parts;
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#closing.signal]);
    const outcomes = await Promise.all(
      events.map(async (event) => {
        try {
          observer.handled(event.action, await handler.handle(event, signal), event.target);
          return true;
        } catch (error) {
          observer.failed(
            event.action,
            signal.aborted && !(error instanceof LayerError) ? signal.reason : error,
          );
          return false;
        }
      }),
    );
    return outcomes.includes(false) ? tryAgain : { status: 200 };
  }
}

/** The body as text; `undefined` when it is too long. Rejects when the client does not send it whole. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
