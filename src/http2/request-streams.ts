/** The streams of a connection: which are open, and what header lists and bodies do to them (RFC 9113, 5.1 and 8.1). */
import { ClosedStreams } from './closed-streams.js';
import { ConnectionError, errorCodes, StreamError } from './error-codes.js';
import { type HeaderList, HpackDecoder } from './hpack/decoder.js';
import { areTrailersWellFormed, type RequestHead, requestHeadOf } from './request-head.js';
import type { Sender } from './sender.js';
import type { OwnSettings } from './settings.js';
import { Http2Stream, type StreamOwner } from './stream.js';

/** Answers a new request; the stream's listener must be set before it returns. */
export type OnRequest = (stream: Http2Stream, head: RequestHead) => void;

const nothing = Buffer.alloc(0);

/** To a request whose header list is longer than we hold (RFC 9113, 10.5.1). */
const tooLongAnswer = [':status', '431'] as const;

export class RequestStreams {
  readonly open = new Map<number, Http2Stream>();
  /** The largest id that the client has used. */
  lastId = 0;
  /** Streams beyond this id are not served: a GOAWAY has said so. */
  lastServedId = 2 ** 31 - 1;
  readonly #settings: OwnSettings;
  readonly #sender: Sender;
  readonly #owner: StreamOwner;
  readonly #onRequest: OnRequest;
  readonly #decoder: HpackDecoder;
  readonly #closed = new ClosedStreams();

  constructor(settings: OwnSettings, sender: Sender, owner: StreamOwner, onRequest: OnRequest) {
    this.#settings = settings;
    this.#sender = sender;
    this.#owner = owner;
    this.#onRequest = onRequest;
    this.#decoder = new HpackDecoder({
      maxTableBytes: settings.headerTableBytes,
      maxHeaderListBytes: settings.maxHeaderListBytes,
    });
  }

  /** A whole header block. Returns `false` for a stream that is refused or reset already. Throws what is the client's fault. */
  headers(streamId: number, isEnd: boolean, block: Buffer): boolean {
    // Decoded whatever becomes of it: the table must stay in step (RFC 9113, 4.3).
    const list = this.#decoder.decode(block);
    const stream = this.open.get(streamId);
    if (stream !== undefined) {
      this.#trailers(stream, list, isEnd);
      return true;
    }
    if (streamId > this.lastId) return this.#request(streamId, list, isEnd);
    const how = this.#closed.of(streamId);
    if (how === 'reset') return false;
    if (how === 'ended')
      throw new ConnectionError(errorCodes.streamClosed, 'HEADERS on a stream that has ended');
    throw new ConnectionError(errorCodes.protocolError, 'a stream id is smaller than one before');
  }

  /** A piece of a body; `size` is that of its frame's payload. Returns and throws as `headers` does. */
  data(streamId: number, body: Buffer, size: number, isEnd: boolean): boolean {
    const stream = this.open.get(streamId);
    if (stream === undefined) return this.#dataOnOldStream(streamId);
    if (stream.isRemoteClosed)
      throw new StreamError(streamId, errorCodes.streamClosed, 'DATA after END_STREAM');
    if (size > stream.receiveWindow) {
      throw new StreamError(streamId, errorCodes.flowControlError, 'DATA beyond the window');
    }
    stream.receiveWindow -= size;
    if (stream.bodyLeft !== undefined) {
      stream.bodyLeft -= body.length;
      if (stream.bodyLeft < 0 || (isEnd && stream.bodyLeft > 0)) throw wrongLength(streamId);
    }
    if (isEnd) stream.isRemoteClosed = true;
    else if (size > body.length) this.grant(stream, size - body.length);
    stream.listener?.data(body, isEnd);
    this.finish(stream);
    return true;
  }

  /** A body's bytes were used: lets the client send as many more, once they are worth a frame. */
  grant(stream: Http2Stream, bytes: number): void {
    stream.ungranted += bytes;
    if (stream.ungranted * 2 < this.#settings.initialWindow) return;
    stream.receiveWindow += stream.ungranted;
    this.#sender.windowUpdate(stream.id, stream.ungranted);
    stream.ungranted = 0;
  }

  /** Closes a stream that has ended on both sides. */
  finish(stream: Http2Stream): void {
    if (stream.isRemoteClosed && stream.isLocalClosed) this.close(stream, errorCodes.noError, 'ended');
  }

  /** Closes a stream; `reset`: by us, so that frames of the client may still come. */
  close(stream: Http2Stream, code: number, how: 'ended' | 'reset'): void {
    if (stream.isClosed) return;
    this.open.delete(stream.id);
    this.#closed.add(stream.id, how);
    this.#sender.forget(stream);
    stream.close(code);
  }

  #request(streamId: number, list: HeaderList, isEnd: boolean): boolean {
    if (streamId % 2 === 0)
      throw new ConnectionError(errorCodes.protocolError, 'a client opens an even stream');
    this.lastId = streamId;
    // The client sends it again on another connection (RFC 9113, 6.8).
    if (streamId > this.lastServedId) return false;
    if (this.open.size >= this.#settings.maxConcurrentStreams) {
      this.#closed.add(streamId, 'reset');
      this.#sender.reset(streamId, errorCodes.refusedStream);
      return false;
    }
    const head = headOf(list);
    if (head === undefined && !list.isTooLong) {
      this.#closed.add(streamId, 'reset');
      throw malformed(streamId);
    }
    const stream = new Http2Stream(streamId, this.#owner, {
      send: this.#sender.settings.initialWindow,
      receive: this.#settings.initialWindow,
    });
    stream.isRemoteClosed = isEnd;
    this.open.set(streamId, stream);
    if (head === undefined) {
      stream.respond(tooLongAnswer, true);
      return true;
    }
    stream.bodyLeft = head.contentLength;
    if (isEnd && head.contentLength) throw wrongLength(streamId);
    this.#onRequest(stream, head);
    if (isEnd && !stream.isClosed) stream.listener?.data(nothing, true);
    this.finish(stream);
    return true;
  }

  #trailers(stream: Http2Stream, list: HeaderList, isEnd: boolean): void {
    const { id } = stream;
    if (stream.isRemoteClosed) throw new StreamError(id, errorCodes.streamClosed, 'HEADERS after END_STREAM');
    // A second header list ends the request (RFC 9113, 8.1).
    if (!isEnd || list.isTooLong || !areTrailersWellFormed(list.fields)) throw malformed(id);
    if (stream.bodyLeft) throw wrongLength(id);
    stream.isRemoteClosed = true;
    stream.listener?.data(nothing, true);
    this.finish(stream);
  }

  /** A stream that is not open (RFC 9113, 5.1). */
  #dataOnOldStream(streamId: number): boolean {
    if (streamId > this.lastId) throw new ConnectionError(errorCodes.protocolError, 'DATA on an idle stream');
    if (streamId > this.lastServedId || this.#closed.of(streamId) === 'reset') return false;
    throw new StreamError(streamId, errorCodes.streamClosed, 'DATA on a stream that has ended');
  }
}

/** The head is kept with the list, which repeats for equal requests. */
function headOf(list: HeaderList): RequestHead | undefined {
  if (list.derived === undefined && !list.isTooLong) list.derived = requestHeadOf(list.fields) ?? null;
  return (list.derived as RequestHead | null | undefined) ?? undefined;
}

function malformed(streamId: number): StreamError {
  return new StreamError(streamId, errorCodes.protocolError, 'a request is malformed');
}

function wrongLength(streamId: number): StreamError {
  return new StreamError(
    streamId,
    errorCodes.protocolError,
    'the body is not as long as content-length says',
  );
}
