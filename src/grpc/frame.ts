/** gRPC's length-prefixed messages. */

/** Bytes before a message: a flag (0, not compressed) and its length, big-endian. */
export const framePrefix = 5;

/** The message as a frame, copied. */
export function frameOf(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(framePrefix + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, framePrefix);
  return frame;
}
