/** Error codes of RST_STREAM and GOAWAY (RFC 9113, 7). */
export const errorCodes = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  connectError: 0xa,
  enhanceYourCalm: 0xb,
  inadequateSecurity: 0xc,
  http11Required: 0xd,
} as const;

/** A fault of the peer that ends the connection (RFC 9113, 5.4.1). */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  /** @param code one of `errorCodes` */
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** A fault of the peer that ends one stream (RFC 9113, 5.4.2). */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  /** @param code one of `errorCodes` */
  constructor(
    readonly streamId: number,
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}
