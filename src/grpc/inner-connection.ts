/**
 * The way of requests that grpc-js answers: for each connection of a client one
 * HTTP/2 connection to it inside the process, opened when it is first needed.
 */
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { errorCodes } from '../http2/error-codes.js';
import { flags } from '../http2/frames.js';
import type { RequestHead } from '../http2/request-head.js';
import type { Http2Stream } from '../http2/stream.js';
import { failedAnswer } from './direct-call.js';
import type { GrpcJsLibrary } from './grpc-js-library.js';
import type { GrpcJsTransport } from './grpc-js-transport.js';
import { status } from './status-code.js';

export class InnerConnection {
  readonly #library: GrpcJsLibrary;
  #session: ClientHttp2Session | undefined;
  #isClosed = false;

  constructor(library: GrpcJsLibrary) {
    this.#library = library;
  }

  /** Has the request answered by grpc-js: bytes, trailers, resets and flow control are passed on both ways. */
  forward(stream: Http2Stream, head: RequestHead): void {
    const { transport } = this.#library;
    if (transport !== undefined) this.#forward(stream, head, transport);
    else void this.#forwardOnceLoaded(stream, head);
  }

  close(): void {
    this.#isClosed = true;
    this.#session?.destroy();
    this.#session = undefined;
  }

  async #forwardOnceLoaded(stream: Http2Stream, head: RequestHead): Promise<void> {
    const early = new EarlyRequest(stream);
    try {
      const transport = await this.#library.load();
      if (stream.isClosed || this.#isClosed) return;
      this.#forward(stream, head, transport);
      early.replay();
    } catch (error) {
      stream.respond(failedAnswer({ code: status.INTERNAL, message: String(error) }), true);
    }
  }

  #forward(stream: Http2Stream, head: RequestHead, transport: GrpcJsTransport): void {
    let inner: ClientHttp2Stream;
    try {
      inner = this.#open(transport).request(headersOf(head.fields), { endStream: false });
    } catch (error) {
      // Such a request cannot be sent again: Node refuses a field that the client's side let pass.
      stream.respond(failedAnswer({ code: status.INTERNAL, message: String(error) }), true);
      return;
    }
    new ForwardedStream(stream, inner);
  }

  #open(transport: GrpcJsTransport): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed)
      return this.#session;
    const session = transport.connect();
    // Its streams are told, and the next request opens another.
    session.on('error', () => {});
    session.on('goaway', () => session.close());
    session.unref();
    this.#session = session;
    return session;
  }
}

/** What a client sends before its request can be forwarded; no more than the stream's window. */
class EarlyRequest {
  readonly #stream: Http2Stream;
  readonly #pieces: { readonly bytes: Buffer; readonly isEnd: boolean }[] = [];

  constructor(stream: Http2Stream) {
    this.#stream = stream;
    stream.listener = {
      data: (bytes, isEnd) => void this.#pieces.push({ bytes: Buffer.from(bytes), isEnd }),
      closed: () => {},
    };
  }

  /** Gives all of it to the stream's new listener. */
  replay(): void {
    for (const { bytes, isEnd } of this.#pieces) this.#stream.listener?.data(bytes, isEnd);
  }
}

/** One request on its way to grpc-js and back. */
class ForwardedStream {
  readonly #outer: Http2Stream;
  readonly #inner: ClientHttp2Stream;
  #trailers: string[] | undefined;

  constructor(outer: Http2Stream, inner: ClientHttp2Stream) {
    this.#outer = outer;
    this.#inner = inner;
    outer.listener = {
      data: (bytes, isEnd) => this.#send(bytes, isEnd),
      closed: (code) => {
        if (!inner.closed) inner.close(code);
      },
    };
    inner.on('response', this.#onResponse);
    inner.on('data', this.#onData);
    inner.on('trailers', (trailers) => {
      this.#trailers = fieldsOf(trailers);
    });
    inner.on('end', () => this.#end());
    // 'close' follows.
    inner.on('error', () => {});
    inner.on('close', this.#onClose);
  }

  /** The client sends no more than grpc-js takes. */
  #send(bytes: Buffer, isEnd: boolean): void {
    const { length } = bytes;
    if (length > 0) this.#inner.write(Buffer.from(bytes), () => this.#outer.consume(length));
    if (isEnd) this.#inner.end();
  }

  readonly #onResponse = (headers: IncomingHttpHeaders, frameFlags: number): void => {
    this.#outer.respond(fieldsOf(headers), (frameFlags & flags.endStream) !== 0);
  };

  readonly #onData = (bytes: Buffer): void => {
    this.#inner.pause();
    this.#outer.write(bytes, () => this.#inner.resume());
  };

  #end(): void {
    this.#outer.end(this.#trailers ?? []);
  }

  readonly #onClose = (): void => {
    const { rstCode } = this.#inner;
    if (!this.#outer.isClosed && rstCode !== errorCodes.noError)
      this.#outer.reset(rstCode ?? errorCodes.internalError);
  };
}

/** Node's object of headers from names and values in turn. */
function headersOf(fields: readonly string[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  return headers;
}

/** Names and values in turn from Node's object. */
function fieldsOf(headers: IncomingHttpHeaders): string[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    [value ?? []].flat().flatMap((each) => [name, String(each)]),
  );
}
