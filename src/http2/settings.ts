/** SETTINGS (RFC 9113, 6.5). */
import { ConnectionError, errorCodes } from './error-codes.js';
import { defaultMaxFrameBytes } from './frames.js';

const identifiers = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
  maxHeaderListSize: 0x6,
} as const;

const settingBytes = 6;

/** The largest flow-control window (RFC 9113, 6.9.1). */
export const largestWindow = 2 ** 31 - 1;

/** The window of a connection and of its streams until somebody says otherwise (RFC 9113, 6.9.2). */
export const defaultWindow = 65_535;

const largestMaxFrame = 2 ** 24 - 1;

/** What a peer allows us. */
export interface PeerSettings {
  /** Bytes of HPACK's dynamic table. */
  headerTableBytes: number;
  /** Bytes that a new stream may take before it says that it takes more. */
  initialWindow: number;
  /** Bytes of the largest payload of a frame. */
  maxFrameBytes: number;
}

export const defaultPeerSettings: Readonly<PeerSettings> = {
  headerTableBytes: 4096,
  initialWindow: defaultWindow,
  maxFrameBytes: defaultMaxFrameBytes,
};

/** What we allow a client. */
export interface OwnSettings {
  readonly headerTableBytes: number;
  readonly maxConcurrentStreams: number;
  readonly initialWindow: number;
  readonly maxHeaderListBytes: number;
}

/** The payload of our SETTINGS. */
export function encodeSettings(own: OwnSettings): Buffer {
  const settings = [
    [identifiers.headerTableSize, own.headerTableBytes],
    [identifiers.maxConcurrentStreams, own.maxConcurrentStreams],
    [identifiers.initialWindowSize, own.initialWindow],
    [identifiers.maxHeaderListSize, own.maxHeaderListBytes],
  ] as const;
  const payload = Buffer.alloc(settings.length * settingBytes);
  for (const [index, [identifier, value]] of settings.entries()) {
    payload.writeUInt16BE(identifier, index * settingBytes);
    payload.writeUInt32BE(value, index * settingBytes + 2);
  }
  return payload;
}

/** Applies the payload of a peer's SETTINGS in its order; unknown ones are ignored (RFC 9113, 6.5.2). Throws a `ConnectionError`. */
export function applySettings(settings: PeerSettings, payload: Buffer): void {
  if (payload.length % settingBytes !== 0) {
    throw new ConnectionError(errorCodes.frameSizeError, 'SETTINGS is no multiple of 6 bytes');
  }
  for (let at = 0; at < payload.length; at += settingBytes) {
    const value = payload.readUInt32BE(at + 2);
    switch (payload.readUInt16BE(at)) {
      case identifiers.headerTableSize:
        settings.headerTableBytes = value;
        break;
      case identifiers.enablePush:
        if (value > 1) throw new ConnectionError(errorCodes.protocolError, 'ENABLE_PUSH is neither 0 nor 1');
        break;
      case identifiers.initialWindowSize:
        if (value > largestWindow) {
          throw new ConnectionError(errorCodes.flowControlError, 'INITIAL_WINDOW_SIZE is above 2^31-1');
        }
        settings.initialWindow = value;
        break;
      case identifiers.maxFrameSize:
        if (value < defaultMaxFrameBytes || value > largestMaxFrame) {
          throw new ConnectionError(errorCodes.protocolError, 'MAX_FRAME_SIZE is out of its range');
        }
        settings.maxFrameBytes = value;
        break;
    }
  }
}
