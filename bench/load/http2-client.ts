/**
 * A client's side of one HTTP/2 connection (RFC 9113), as lean as it can be:
 * frames are made once and copied, payloads are counted where they lie in one
 * reused buffer, header blocks that were seen are not decoded again. `h2load`
 * sends one body to all; this sends many, and checks each answer.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type AnswerCheck, answerCheck } from './answer-check.ts';
import { ack, endHeaders, endStream, frame, frameHeader, types, u32 } from './frames.ts';
import { type Field, HpackDecoder, RequestEncoder } from './hpack.ts';
import type { Expectation } from './load-spec.ts';

const maxWindow = 2 ** 31 - 1;
const maxFrame = 16_384;
const readBuffer = 1 << 20;
/** There are hundreds of those. */
const stallingReadBuffer = 64 << 10;

interface Call {
  readonly kind: number;
  readonly check: AnswerCheck;
  begun: number;
  /** Its headers or trailers say success. */
  good: boolean;
  /** The last of them, for people. */
  headers: string;
  /** What flow control keeps back of the request. */
  unsent: Buffer | undefined;
  window: number;
}

/** What headers or trailers say. */
interface Headers {
  /** Whether they say success. */
  readonly good: boolean;
  readonly text: string;
}

/** One kind of request. */
export interface RequestKind {
  readonly fields: readonly Field[];
  readonly expect: Expectation;
}

export interface Http2ClientOptions {
  readonly port: number;
  /** A PEM certificate that the server's must be signed by: over TLS, if it is given. */
  readonly ca?: Buffer | undefined;
  readonly kinds: readonly RequestKind[];
  /** A field that headers or trailers must have. */
  readonly success: Field;
  /** Called for each right answer, with when its request was made. */
  readonly answered: (begun: number, bytes: number) => void;
  readonly failed: (error: Error) => void;
  /** Reads no more once it has read that many bytes: a client that stalls. */
  readonly stopsAfter?: number;
  /** Bytes of an answer that it takes without being asked to go on, which it never is; no bound unless given. */
  readonly window?: number;
}

export class Http2Client {
  inFlight = 0;
  /** Bytes of the connection so far. */
  read = 0;
  readonly #options: Http2ClientOptions;
  readonly #socket: Socket;
  readonly #ready = Promise.withResolvers<void>();
  readonly #decoder = new HpackDecoder();
  readonly #encoder: RequestEncoder;
  readonly #calls = new Map<number, Call>();
  /** By kind. */
  readonly #idle: readonly Call[][];
  readonly #header = Buffer.alloc(frameHeader);
  #headerAt = 0;
  #payload = Buffer.alloc(0);
  #payloadAt = 0;
  #left = 0;
  #out: Buffer[] = [];
  #nextStream = 1;
  #window = 65_535;
  #streamWindow = 65_535;
  #consumed = 0;
  /** Whether header blocks mean success: of those that leave the dynamic table as it is, while it stays so. */
  #seenBlocks: ({ readonly block: Buffer } & Headers)[] = [];
  #seenAt = 0;
  #closed = false;

  constructor(options: Http2ClientOptions) {
    this.#options = options;
    this.#encoder = new RequestEncoder(options.kinds.map(({ fields }) => fields));
    this.#idle = options.kinds.map(() => []);
    const place = {
      port: options.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafeSlow(options.stopsAfter === undefined ? readBuffer : stallingReadBuffer),
        callback: (length: number, buffer: Uint8Array) => {
          this.#read(buffer as Buffer, length);
          this.flush();
          this.read += length;
          return this.read < (options.stopsAfter ?? Number.POSITIVE_INFINITY);
        },
      },
    };
    const { ca } = options;
    this.#socket = ca === undefined ? connect(place) : connectTls({ ...place, ca, ALPNProtocols: ['h2'] });
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the server closed the connection')));
    const settings = Buffer.alloc(12);
    settings.writeUInt16BE(2, 0); // ENABLE_PUSH 0
    settings.writeUInt16BE(4, 6); // INITIAL_WINDOW_SIZE
    settings.writeUInt32BE(options.window ?? maxWindow, 8);
    this.#out.push(
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frame(types.settings, 0, 0, settings),
      frame(types.window, 0, 0, u32(maxWindow - 65_535)),
    );
    this.flush();
  }

  /** Resolves when the server has said its settings. */
  ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Sends a request with that body when `flush` is called; a body of none has no DATA frame. */
  call(body: Buffer, request: number, kind = 0): void {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    const call = this.#idle[kind]?.pop() ?? {
      kind,
      check: answerCheck(this.#options.kinds[kind]?.expect ?? { kind: 'any' }),
      begun: 0,
      good: false,
      headers: '',
      unsent: undefined,
      window: 0,
    };
    call.check.reset(request);
    call.good = false;
    call.begun = performance.now();
    call.window = this.#streamWindow;
    this.#calls.set(stream, call);
    this.inFlight++;
    const flags = endHeaders | (body.length === 0 ? endStream : 0);
    this.#out.push(frame(types.headers, flags, stream, this.#encoder.block(kind)));
    if (body.length > 0) this.#send(stream, call, body);
  }

  flush(): void {
    if (this.#out.length === 0) return;
    this.#socket.write(this.#out.length === 1 ? (this.#out[0] as Buffer) : Buffer.concat(this.#out));
    this.#out = [];
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #send(stream: number, call: Call, body: Buffer): void {
    let at = 0;
    while (at < body.length) {
      const length = Math.min(maxFrame, body.length - at, call.window, this.#window);
      if (length <= 0) break;
      const last = at + length === body.length;
      this.#out.push(frame(types.data, last ? endStream : 0, stream, body.subarray(at, at + length)));
      at += length;
      call.window -= length;
      this.#window -= length;
    }
    call.unsent = at < body.length ? body.subarray(at) : undefined;
  }

  #sendMore(): void {
    for (const [stream, call] of this.#calls) {
      if (this.#window <= 0) return;
      if (call.unsent !== undefined) this.#send(stream, call, call.unsent);
    }
  }

  #read(buffer: Buffer, end: number): void {
    for (let at = 0; at < end; ) {
      if (this.#headerAt < frameHeader) {
        const length = Math.min(frameHeader - this.#headerAt, end - at);
        buffer.copy(this.#header, this.#headerAt, at, at + length);
        this.#headerAt += length;
        at += length;
        if (this.#headerAt < frameHeader) return;
        this.#left = this.#header.readUIntBE(0, 3);
        this.#payloadAt = 0;
      }
      const length = Math.min(this.#left, end - at);
      this.#left -= length;
      if (this.#header[3] === types.data) this.#data(buffer, at, at + length);
      else this.#gather(buffer, at, at + length);
      at += length;
      if (this.#left > 0) return;
      this.#headerAt = 0;
      this.#frame();
    }
  }

  #data(buffer: Buffer, start: number, end: number): void {
    this.#calls.get(this.#stream)?.check.data(buffer, start, end);
    this.#consumed += end - start;
    if (this.#consumed < maxWindow / 4) return;
    this.#out.push(frame(types.window, 0, 0, u32(this.#consumed)));
    this.#consumed = 0;
  }

  #gather(buffer: Buffer, start: number, end: number): void {
    const whole = this.#payloadAt + (end - start) + this.#left;
    if (this.#payload.length < whole) this.#payload = Buffer.concat([this.#payload], whole);
    buffer.copy(this.#payload, this.#payloadAt, start, end);
    this.#payloadAt += end - start;
  }

  get #stream(): number {
    return this.#header.readUInt32BE(5);
  }

  /** A whole frame was read. */
  #frame(): void {
    const flags = this.#header[4] ?? 0;
    switch (this.#header[3]) {
      case types.data:
        if (flags & endStream) this.#end();
        return;
      case types.headers: {
        const call = this.#calls.get(this.#stream);
        const headers = this.#headers(this.#payload.subarray(0, this.#payloadAt));
        if (call !== undefined) {
          call.good ||= headers.good;
          call.headers = headers.text;
        }
        if (flags & endStream) this.#end();
        return;
      }
      case types.settings:
        if (!(flags & ack)) this.#settings();
        return;
      case types.ping:
        if (!(flags & ack))
          this.#out.push(frame(types.ping, ack, 0, Buffer.from(this.#payload.subarray(0, 8))));
        return;
      case types.window:
        this.#widen(this.#payload.readUInt32BE(0));
        return;
      case types.reset:
        // A server may reset what it has answered.
        if (!this.#calls.has(this.#stream)) return;
        this.#fail(new Error(`the server reset a stream, code ${this.#payload.readUInt32BE(0)}`));
        return;
      case types.goaway:
        this.#fail(
          new Error(`the server said GOAWAY: ${this.#payload.toString('latin1', 4, this.#payloadAt)}`),
        );
    }
  }

  #settings(): void {
    for (let at = 0; at + 6 <= this.#payloadAt; at += 6) {
      if (this.#payload.readUInt16BE(at) !== 4) continue;
      const window = this.#payload.readUInt32BE(at + 2);
      for (const call of this.#calls.values()) call.window += window - this.#streamWindow;
      this.#streamWindow = window;
    }
    this.#out.push(frame(types.settings, ack, 0, Buffer.alloc(0)));
    this.#ready.resolve();
    this.#sendMore();
  }

  #widen(by: number): void {
    const call = this.#calls.get(this.#stream);
    if (this.#stream === 0) this.#window += by;
    else if (call !== undefined) call.window += by;
    this.#sendMore();
  }

  #headers(block: Buffer): Headers {
    const known = this.#seenBlocks.find((seen) => seen.block.equals(block));
    if (known !== undefined) return known;
    const [name, value] = this.#options.success;
    const fields = this.#decoder.decode(block);
    const good = fields.some((field) => field[0] === name && field[1] === value);
    const headers = { good, text: fields.map((field) => field.join(': ')).join(', ') };
    if (this.#decoder.generation === this.#seenAt)
      this.#seenBlocks.push({ block: Buffer.from(block), ...headers });
    else this.#seenBlocks = [];
    this.#seenAt = this.#decoder.generation;
    return headers;
  }

  #end(): void {
    const call = this.#calls.get(this.#stream);
    if (call === undefined) return;
    this.#calls.delete(this.#stream);
    this.inFlight--;
    const problem = call.good ? call.check.problem() : `an answer with ${call.headers}`;
    if (problem !== undefined) this.#fail(new Error(problem));
    this.#idle[call.kind]?.push(call);
    this.#options.answered(call.begun, call.check.bytes);
  }

  #fail(error: Error): void {
    if (this.#closed) return;
    this.close();
    this.#ready.reject(error);
    this.#options.failed(error);
  }
}
