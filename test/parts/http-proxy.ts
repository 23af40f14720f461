/**
 * Stands between an HTTP client and a server on the loopback and does to each
 * answer what the test says: refuse it, cut it, hold it, slow it, lie about it.
 */
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What happens to an answer; without any of it, it passes as it is. */
export interface Fault {
  /** Answers itself: a status, and a code as S3 writes it. */
  readonly refuse?: { readonly status: number; readonly code: string };
  /** Answers itself. */
  readonly answer?: (asked: IncomingMessage, answer: ServerResponse) => void;
  /** Ends the connection when so many bytes of the body have passed. */
  readonly cutAfter?: number;
  /** Passes nothing any more when so many bytes of the body have passed. */
  readonly hangAfter?: number;
  /** Milliseconds between pieces of so many bytes. */
  readonly slow?: { readonly bytes: number; readonly pauseMs: number };
  /** Says these headers instead. */
  readonly headers?: (headers: IncomingHttpHeaders) => IncomingHttpHeaders;
}

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Bytes of the body that went on to the client. */
  passed: number;
  /** Whether the client's side is over, and before the answer was complete. */
  closed: boolean;
  aborted: boolean;
}

export class HttpProxy {
  /** What is done to the answer of a request; asked once per request. */
  fault: (seen: SeenRequest) => Fault | undefined = () => undefined;
  /** All so far, in order. */
  readonly requests: SeenRequest[] = [];
  /** Connections that clients have opened so far. */
  connections = 0;
  readonly #target: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((asked, answer) => this.#serve(asked, answer));
    this.#server.on('connection', (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(target: number): Promise<HttpProxy> {
    const proxy = new HttpProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
    return address.port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(asked: IncomingMessage, answer: ServerResponse): void {
    const { method = '', url = '', headers } = asked;
    const seen: SeenRequest = { method, url, headers, passed: 0, closed: false, aborted: false };
    this.requests.push(seen);
    answer.on('close', () => {
      seen.closed = true;
      seen.aborted = !answer.writableFinished;
    });
    const fault = this.fault(seen) ?? {};
    if (fault.refuse !== undefined) {
      const { status, code } = fault.refuse;
      const body = method === 'HEAD' ? '' : `<Error><Code>${code}</Code><Message>no</Message></Error>`;
      asked.resume();
      answer.writeHead(status, { 'content-type': 'application/xml' }).end(body);
      return;
    }
    if (fault.answer !== undefined) {
      fault.answer(asked, answer);
      return;
    }
    const onward = request({ host: '127.0.0.1', port: this.#target, method, path: url, headers });
    onward.on('error', () => answer.destroy());
    onward.on('response', (answered) => {
      answered.on('error', () => answer.destroy());
      answer.on('close', () => answered.destroy());
      const told = fault.headers?.(answered.headers) ?? answered.headers;
      answer.writeHead(answered.statusCode ?? 502, told);
      if (method === 'HEAD') answer.end();
      else void pass(answered, answer, fault, seen);
    });
    asked.pipe(onward);
  }
}

async function pass(from: IncomingMessage, to: ServerResponse, fault: Fault, seen: SeenRequest) {
  const { cutAfter = Infinity, hangAfter = Infinity, slow } = fault;
  const most = Math.min(cutAfter, hangAfter);
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; ) {
        const size = Math.min(slow?.bytes ?? chunk.length, chunk.length - at, most - seen.passed);
        if (size > 0 && !to.write(chunk.subarray(at, at + size))) await once(to, 'drain');
        at += size;
        seen.passed += size;
        if (seen.passed >= hangAfter) await once(to, 'close');
        if (seen.passed >= cutAfter) {
          // What was written shall arrive before the end does.
          await new Promise((resolve) => to.write('', resolve));
          to.destroy();
        }
        if (to.destroyed) return;
        if (slow !== undefined) await sleep(slow.pauseMs);
      }
    }
    to.end();
  } catch {
    // The one side's end is passed on to the other.
    to.destroy();
  }
}
