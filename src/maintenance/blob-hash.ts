import { createHash } from 'node:crypto';
import { algorithmOf, type Digest, hexOf } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import { PathNotFoundError, type StorageDriver } from '../storage/storage-driver.js';

const bufferBytes = 1 << 20;
const whole = { offset: 0, limit: 0 };

/** Whether the blob hashes to its digest; `undefined` when it is gone. Throws `StorageError`. */
export async function hashesRight(
  driver: StorageDriver,
  digest: Digest,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  try {
    const { reader, size } = await driver.open(blobPath(digest), whole, signal);
    try {
      const hash = createHash(algorithmOf(digest));
      const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(size, bufferBytes)));
      for (let count = await reader.read(buffer); count > 0; count = await reader.read(buffer))
        hash.update(buffer.subarray(0, count));
      return hash.digest('hex') === hexOf(digest);
    } finally {
      await reader.close();
    }
  } catch (error) {
    if (error instanceof PathNotFoundError) return undefined;
    throw error;
  }
}
