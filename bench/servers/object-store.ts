/** A real object store with some of the tree's layers in a bucket, and what a server needs to read it. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { blobPath, linkPath } from '../../dist/reference/layout.js';
import { type Bucket, RadosGateway } from '../../test/parts/rados-gateway.ts';
import type { Bench } from '../bench.ts';
import type { Layer } from '../layer-tree.ts';

export class ObjectStore {
  readonly bucket: string;
  /** What `--storage` takes. */
  readonly storage: string;
  readonly #gateway: RadosGateway;
  readonly #bucket: Bucket;

  private constructor(gateway: RadosGateway, bucket: Bucket) {
    this.#gateway = gateway;
    this.#bucket = bucket;
    this.bucket = bucket.name;
    this.storage = bucket.url();
  }

  static async start({ tree }: Bench, layers: readonly Layer[]): Promise<ObjectStore> {
    const gateway = await RadosGateway.start();
    try {
      const bucket = await gateway.createBucket();
      const client = gateway.client();
      for (const { digest, length } of layers) {
        await client.send(
          new PutObjectCommand({
            Bucket: bucket.name,
            Key: blobPath(digest).slice(1),
            Body: createReadStream(join(tree.root, blobPath(digest))),
            ContentLength: length,
          }),
        );
        await bucket.put(linkPath(tree.repository, digest).slice(1), Buffer.from(digest));
      }
      return new ObjectStore(gateway, bucket);
    } catch (error) {
      await gateway.stop();
      throw error;
    }
  }

  get port(): number {
    return this.#gateway.port;
  }

  /** What `--storage` takes, at another port of the loopback. */
  storageAt(port: number): string {
    return this.#bucket.url('', { port });
  }

  get endpoint(): string {
    return this.#gateway.endpoint;
  }

  /** Credentials. */
  get env(): Record<string, string> {
    return this.#gateway.environment;
  }

  stop(): Promise<void> {
    return this.#gateway.stop();
  }
}
