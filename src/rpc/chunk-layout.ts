/**
 * Where the bytes of a chunk lie in a stream's buffer: behind the headroom, with
 * room before each frame of the transport for its header, so that what was read
 * with one operation leaves with one write.
 */
import type { FrameGaps, TransportFrames } from '../grpc/transport.js';
import { headroom } from './chunk-frame.js';

/** Bytes that a buffer for so many bytes of data needs for gaps, whichever transport it serves. */
export function roomForGaps(size: number): number {
  const smallestPayload = 16_384;
  const largestHeader = 9;
  return largestHeader * Math.ceil(size / smallestPayload);
}

export class ChunkLayout {
  readonly #frames: TransportFrames;
  /** Bytes of data in the first frame, which has the headers of messages in front of them. */
  readonly #first: number;
  /** The views of a buffer, made once. */
  readonly #views = new WeakMap<Buffer, readonly Buffer[]>();

  constructor(frames: TransportFrames) {
    this.#frames = frames;
    this.#first = frames.payload - headroom;
  }

  /** Whether so many bytes of data are in more than one frame. */
  hasGaps(count: number): boolean {
    return count > this.#first;
  }

  /** The places for so many bytes of data, in turn. */
  places(buffer: Buffer, count: number): Buffer[] {
    const places: Buffer[] = [];
    let left = count;
    for (const view of this.#viewsOf(buffer)) {
      if (left === 0) break;
      places.push(view.length > left ? view.subarray(0, left) : view);
      left -= Math.min(left, view.length);
    }
    return places;
  }

  /** What is sent of a buffer with so many bytes of data whose messages begin at `start`, and where its gaps are. */
  written(buffer: Buffer, start: number, count: number): { frames: Buffer; gaps: FrameGaps } {
    const { header, payload } = this.#frames;
    const behind = Math.max(0, count - this.#first);
    const end = headroom + count + header * Math.ceil(behind / payload);
    return {
      frames: buffer.subarray(start - header, end),
      gaps: { first: headroom - start + this.#first, each: payload },
    };
  }

  #viewsOf(buffer: Buffer): readonly Buffer[] {
    let views = this.#views.get(buffer);
    if (views === undefined) {
      const { header, payload } = this.#frames;
      const made = [buffer.subarray(headroom, headroom + this.#first)];
      for (let at = headroom + this.#first + header; at < buffer.length; at += payload + header) {
        made.push(buffer.subarray(at, Math.min(buffer.length, at + payload)));
      }
      this.#views.set(buffer, made);
      views = made;
    }
    return views;
  }
}
