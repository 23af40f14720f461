import type { BlobReader } from '../../src/storage/storage-driver.js';

/** What the reader still has, read in pieces. */
export async function rest(reader: BlobReader, piece = 100_000): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const into = Buffer.alloc(piece);
    const count = await reader.read(into);
    if (count === 0) return Buffer.concat(parts);
    parts.push(into.subarray(0, count));
  }
}
