/** The admin HTTP server: the status page, metrics, liveness, readiness, the original's expvar numbers. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DebugVars } from '../telemetry/domain-observer.js';
import { prometheusContentType } from '../telemetry/prometheus-text.js';
import type { ReadinessState } from '../telemetry/readiness.js';
import type { DebugSource } from './debug-requests.js';
import type { StatusPage } from './status-page.js';
import type { StatusSource } from './status-source.js';
import { trafficOf } from './traffic.js';
import { TrafficHistory } from './traffic-history.js';

// An `import` of it would read all that it exports, and so load the WebSocket client, TLS and HTTP/2
// with it: 15 MiB of an idle server's memory.
const { createServer } = process.getBuiltinModule('node:http');

export interface AdminParts {
  readonly readiness: { readonly state: ReadinessState };
  /** Prometheus' text format. */
  readonly metricsText: () => string | Promise<string>;
  readonly debugVars: () => DebugVars | Promise<DebugVars>;
  /** What the status page shows. */
  readonly status: StatusSource;
  /** Who may ask for profiles and heap snapshots; nobody may where there is none. */
  readonly debug?: DebugSource | undefined;
  /** Receives the error of a failed request; the client learns only that it failed. */
  readonly failed: (error: unknown) => void;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const json = 'application/json; charset=utf-8';
const plain = 'text/plain; charset=utf-8';

// Scrapers and probes are few, and their requests have no body.
const requestTimeout = 10_000;
const maxConnections = 100;
const maxHeaderSize = 8192;

export class AdminServer {
  readonly #parts: AdminParts;
  readonly #server: Server;
  readonly #history: TrafficHistory;
  #page: Promise<StatusPage> | undefined;

  constructor(parts: AdminParts) {
    this.#parts = parts;
    this.#history = new TrafficHistory(() => trafficOf(parts.status.numbers()));
    this.#server = createServer(
      {
        maxHeaderSize,
        headersTimeout: requestTimeout,
        requestTimeout,
        keepAliveTimeout: requestTimeout,
        connectionsCheckingInterval: 1000,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxConnections = maxConnections;
    // Also ends a client that never reads its answer.
    this.#server.timeout = requestTimeout;
  }

  /** Listens; gives the port that was bound. Rejects when it cannot, with `code` `EADDRINUSE` for a port in use. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject);
        this.#server.on('error', this.#parts.failed);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Stops listening and cuts what is open; answers are short. Idempotent. */
  close(): Promise<void> {
    this.#history.close();
    return new Promise((resolve) => {
      // An error here only says that it was not listening.
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#route(request);
    } catch (error) {
      this.#parts.failed(error);
      answer = { status: 500, type: plain, body: 'internal error\n' };
    }
    const body = Buffer.from(answer.body);
    response.writeHead(answer.status, {
      'content-type': answer.type,
      'content-length': body.length,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...(answer.status === 405 ? { allow: 'GET, HEAD' } : undefined),
      ...answer.headers,
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  async #route(request: IncomingMessage): Promise<Answer> {
    const { method, url = '/' } = request;
    const path = url.split('?', 1)[0];
    const { debug } = this.#parts;
    if (debug !== undefined && (path === '/debug/profile' || path === '/debug/heap')) {
      // Loaded when somebody asks, which on most servers is never.
      const { answerDebug } = await import('./debug-requests.js');
      return answerDebug(request, debug);
    }
    const handler = path === undefined ? undefined : this.#handlers.get(path);
    if (handler === undefined) return { status: 404, type: plain, body: 'not found\n' };
    if (method !== 'GET' && method !== 'HEAD') {
      return { status: 405, type: plain, body: 'method not allowed\n' };
    }
    return handler();
  }

  readonly #handlers: ReadonlyMap<string, () => Answer | Promise<Answer>> = new Map<
    string,
    () => Answer | Promise<Answer>
  >([
    ['/', () => this.#statusPage()],
    ['/healthz', () => ({ status: 200, type: plain, body: 'ok\n' })],
    ['/readyz', () => this.#readyz()],
    ['/metrics', () => this.#metrics()],
    ['/debug/vars', () => this.#vars()],
  ]);

  #readyz(): Answer {
    const { ready, degraded, storageSeen, draining, cacheUp, storageUp, workers } =
      this.#parts.readiness.state;
    const status = !ready ? 'not ready' : degraded ? 'degraded' : 'ready';
    return {
      status: ready ? 200 : 503,
      type: json,
      body: `${JSON.stringify({
        status,
        storageSeen,
        draining,
        cache: cacheUp ? 'up' : 'down',
        storage: storageUp ? 'up' : 'down',
        workers,
      })}\n`,
    };
  }

  async #statusPage(): Promise<Answer> {
    const { status: source, readiness } = this.#parts;
    // Loaded when somebody looks, which on most servers is never.
    this.#page ??= import('./status-page.js')
      .then(({ StatusPage }) => StatusPage.open({ source, readiness, history: this.#history }))
      .catch((error: unknown) => {
        this.#page = undefined;
        throw error;
      });
    const page = await this.#page;
    return {
      status: 200,
      type: 'text/html; charset=utf-8',
      body: page.html(),
      headers: { 'content-security-policy': page.policy, 'referrer-policy': 'no-referrer' },
    };
  }

  async #metrics(): Promise<Answer> {
    return { status: 200, type: prometheusContentType, body: await this.#parts.metricsText() };
  }

  async #vars(): Promise<Answer> {
    return { status: 200, type: json, body: `${JSON.stringify(await this.#parts.debugVars())}\n` };
  }
}
