/** A keep-alive HTTP/1.1 connection that asks one thing at a time: HEAD or GET, answered with Content-Length. */
import { connect, type Socket } from 'node:net';
import { type AnswerCheck, answerCheck } from './answer-check.ts';
import type { Expectation } from './load-spec.ts';

const readBuffer = 1 << 20;

export interface Http1ClientOptions {
  readonly port: number;
  readonly expect: Expectation;
  readonly answered: (begun: number, bytes: number) => void;
  readonly failed: (error: Error) => void;
}

export class Http1Client {
  inFlight = 0;
  readonly #options: Http1ClientOptions;
  readonly #socket: Socket;
  readonly #check: AnswerCheck;
  readonly #ready = Promise.withResolvers<void>();
  #begun = 0;
  #head = '';
  #isHead = false;
  #left = -1;
  #closed = false;

  constructor(options: Http1ClientOptions) {
    this.#options = options;
    this.#check = answerCheck(options.expect);
    this.#socket = connect({
      port: options.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafeSlow(readBuffer),
        callback: (length, buffer) => {
          this.#read(buffer as Buffer, length);
          return true;
        },
      },
    });
    this.#socket.on('connect', () => this.#ready.resolve());
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Sends that request, headers and all. */
  call(request: Buffer, index: number, _kind?: number): void {
    this.inFlight = 1;
    this.#begun = performance.now();
    this.#check.reset(index);
    this.#head = '';
    this.#left = -1;
    this.#isHead = request[0] === 0x48;
    this.#socket.write(request);
  }

  flush(): void {}

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #read(buffer: Buffer, end: number): void {
    let at = 0;
    if (this.#left < 0) {
      const before = this.#head.length;
      // Headers are short; what follows them is not looked at as text.
      this.#head += buffer.toString('latin1', 0, Math.min(end, 16_384));
      const headEnd = this.#head.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      at = headEnd + 4 - before;
      const [, length] = /^content-length: *(\d+)/im.exec(this.#head) ?? [];
      if (
        !this.#head.startsWith(`HTTP/1.1 ${this.#options.expect.kind === 'absent' ? 404 : 200} `) ||
        length === undefined
      ) {
        this.#fail(new Error(this.#head.slice(0, headEnd)));
        return;
      }
      this.#left = this.#isHead ? 0 : Number(length);
      // What a HEAD says of the length is checked as if it had come.
      if (this.#isHead) this.#check.data(buffer, 0, Number(length));
    }
    this.#left -= end - at;
    if (end > at) this.#check.data(buffer, at, end);
    if (this.#left > 0) return;
    const problem = this.#left < 0 ? 'more than its length' : this.#check.problem();
    if (problem !== undefined) {
      this.#fail(new Error(problem));
      return;
    }
    this.inFlight = 0;
    this.#options.answered(this.#begun, this.#check.bytes);
  }

  #fail(error: Error): void {
    if (this.#closed) return;
    this.close();
    this.#ready.reject(error);
    this.#options.failed(error);
  }
}
