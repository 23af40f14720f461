/**
 * S3, as Amazon, Ceph, MinIO and others speak it. It needs `s3:GetObject` and
 * `s3:ListBucket`, and nothing else.
 */
import { randomUUID } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { type BlobStat, StorageError } from '../../storage-driver.js';
import { bodyOf } from '../body.js';
import {
  ObjectAbsentError,
  type ObjectBody,
  ObjectChangedError,
  type ObjectRange,
  type ObjectStore,
  RangeBeyondEndError,
} from '../object-store.js';
import { attempts, bodyBuffer, lookupConnections } from '../url.js';
import { refusalOf } from './refusal.js';
import type { S3Location } from './url.js';

export class S3Store implements ObjectStore {
  readonly name = 's3';
  readonly place: string;
  readonly #bucket: string;
  readonly #bodies: S3Client;
  readonly #lookups: S3Client;
  /** Signs for the address that clients reach, and never connects. */
  readonly #signer: S3Client;

  constructor(location: S3Location) {
    const { bucket, region, endpoint, redirectEndpoint, pathStyle, connections } = location;
    this.#bucket = bucket;
    this.place = `the bucket ${bucket}`;
    const config: S3ClientConfig = {
      forcePathStyle: pathStyle,
      maxAttempts: attempts,
      // Layers are hashed by their digests; a checksum that the store adds is a second hash.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(region !== undefined && { region }),
      ...(endpoint !== undefined && { endpoint }),
    };
    this.#lookups = new S3Client({ ...config, requestHandler: handler(lookupConnections) });
    // One look for credentials serves all, and one renewal.
    const { credentials } = this.#lookups.config;
    this.#bodies = new S3Client({ ...config, credentials, requestHandler: handler(connections) });
    this.#signer = new S3Client({
      ...config,
      credentials,
      ...(redirectEndpoint !== undefined && { endpoint: redirectEndpoint }),
    });
  }

  /** The region that requests are signed for. Rejects when none is configured. */
  async region(): Promise<string> {
    return await this.#lookups.config.region();
  }

  async get(
    key: string,
    { first, last }: ObjectRange,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<ObjectBody> {
    const isWhole = first === 0 && last === undefined;
    const command = new GetObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      ...(!isWhole && { Range: `bytes=${first}-${last ?? ''}` }),
      ...(version !== undefined && { IfMatch: version }),
    });
    try {
      return bodyFrom(await this.#bodies.send(command, { abortSignal: signal }), first);
    } catch (error) {
      throw this.#refused('GET', error);
    }
  }

  async getSmall(key: string, signal: AbortSignal): Promise<ObjectBody> {
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
    try {
      return bodyFrom(await this.#lookups.send(command, { abortSignal: signal }), 0);
    } catch (error) {
      throw this.#refused('GET', error);
    }
  }

  async head(key: string, signal: AbortSignal): Promise<BlobStat> {
    try {
      const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: key });
      const { ContentLength: size, ETag: version } = await this.#lookups.send(command, {
        abortSignal: signal,
      });
      if (size === undefined || version === undefined)
        throw new StorageError('the object store told no length or no ETag');
      return { size, version };
    } catch (error) {
      if (refusalOf(error).status !== 404) throw this.#refused('HEAD', error);
    }
    // To a HEAD, a missing bucket looks like a missing key.
    await this.assertThere(signal);
    throw new ObjectAbsentError();
  }

  async assertThere(signal: AbortSignal): Promise<void> {
    try {
      const command = new HeadBucketCommand({ Bucket: this.#bucket });
      await this.#lookups.send(command, { abortSignal: signal });
    } catch (error) {
      if (refusalOf(error).status === 404) throw this.#missing();
      throw this.#refused('HEAD', error);
    }
  }

  async assertGranted(signal: AbortSignal): Promise<void> {
    let body: ObjectBody;
    try {
      body = await this.getSmall(`layercache-probe-${randomUUID()}`, signal);
    } catch (error) {
      if (error instanceof ObjectAbsentError) return;
      throw error;
    }
    body.stream.on('error', () => {}).destroy();
    throw new StorageError(`${this.place} has an object under any key, so it can tell no absence`);
  }

  async holdsAny(prefix: string, signal: AbortSignal): Promise<boolean> {
    try {
      const command = new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix, MaxKeys: 1 });
      const { Contents: found = [] } = await this.#lookups.send(command, { abortSignal: signal });
      return found.length > 0;
    } catch (error) {
      throw this.#refused('LIST', error);
    }
  }

  async signedUrl(key: string, seconds: number): Promise<string> {
    try {
      const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
      return await getSignedUrl(this.#signer, command, { expiresIn: seconds });
    } catch (error) {
      throw this.#refused('signature', error);
    }
  }

  close(): void {
    for (const client of [this.#bodies, this.#lookups, this.#signer]) client.destroy();
  }

  /** What the store or the way to it said, in the words of `ObjectStore`. */
  #refused(what: string, error: unknown): Error {
    if (error instanceof StorageError) return error;
    const { status, code } = refusalOf(error);
    if (code === 'NoSuchKey') return new ObjectAbsentError();
    if (code === 'NoSuchBucket') return this.#missing();
    if (status === 412) return new ObjectChangedError();
    if (status === 416) return new RangeBeyondEndError();
    // A HEAD has no body that could tell a code.
    if (code === 'AccessDenied' || (what === 'HEAD' && status === 403)) {
      return new StorageError(
        `${this.place} denies a ${what} (403): the credentials need s3:GetObject on its objects and s3:ListBucket on the bucket, without which an absent key is denied too`,
      );
    }
    if (code === 'CredentialsProviderError')
      return new StorageError(
        `${this.place} cannot be asked: the environment, the AWS profile and the machine hold no credentials`,
      );
    return new StorageError(
      `${this.place} failed a ${what}: ${status === undefined ? code : `${status} ${code}`}`,
    );
  }

  #missing(): StorageError {
    return new StorageError(`${this.place} does not exist`);
  }
}

function handler(maxSockets: number): NodeHttpHandler {
  // Of time there is the operation's own deadline, which counts waiting for a connection too.
  const agent = { keepAlive: true, maxSockets, highWaterMark: bodyBuffer };
  return new NodeHttpHandler({
    httpAgent: new HttpAgent(agent),
    httpsAgent: new HttpsAgent(agent),
    connectionTimeout: 0,
    requestTimeout: 0,
    socketTimeout: 0,
    // It would warn of a busy pool on the console.
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
  });
}

function bodyFrom(output: GetObjectCommandOutput, first: number): ObjectBody {
  const { Body: stream, ContentLength: length, ContentRange: range, ETag: version } = output;
  if (!(stream instanceof Readable)) throw new StorageError('the object store answered no body');
  return bodyOf(stream, { first, length, range, version });
}
