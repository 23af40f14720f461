/**
 * S3, of Amazon, Ceph, MinIO and others. The credentials need `s3:GetObject` and
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
  type NamePage,
  namesBelow,
  ObjectAbsentError,
  type ObjectBody,
  ObjectChangedError,
  type ObjectRange,
  type ObjectStore,
  RangeBeyondEndError,
} from '../object-store.js';
import { bodyBuffer, lookupConnections, maxAttempts } from '../url.js';
import type { S3Location } from './url.js';

export class S3Store implements ObjectStore {
  readonly name = 's3';
  readonly description: string;
  readonly #bucket: string;
  readonly #bodies: S3Client;
  readonly #lookups: S3Client;
  /** Signs URLs for the address that clients reach; never connects. */
  readonly #signer: S3Client;

  constructor(location: S3Location) {
    const { bucket, region, endpoint, redirectEndpoint, pathStyle, connections } = location;
    this.#bucket = bucket;
    this.description = `the bucket ${bucket}`;
    const config: S3ClientConfig = {
      forcePathStyle: pathStyle,
      maxAttempts,
      // Layers are verified by digest, so a checksum of the store would be a second hash.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(region !== undefined && { region }),
      ...(endpoint !== undefined && { endpoint }),
    };
    this.#lookups = new S3Client({ ...config, requestHandler: handler(lookupConnections) });
    // The clients share the credentials and their renewal.
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
      throw this.#toError('GET', error);
    }
  }

  async getSmall(key: string, signal: AbortSignal): Promise<ObjectBody> {
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
    try {
      return bodyFrom(await this.#lookups.send(command, { abortSignal: signal }), 0);
    } catch (error) {
      throw this.#toError('GET', error);
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
      if (failureOf(error).status !== 404) throw this.#toError('HEAD', error);
    }
    // A HEAD answers 404 for a missing bucket and for a missing key.
    await this.assertExists(signal);
    throw new ObjectAbsentError();
  }

  async assertExists(signal: AbortSignal): Promise<void> {
    try {
      const command = new HeadBucketCommand({ Bucket: this.#bucket });
      await this.#lookups.send(command, { abortSignal: signal });
    } catch (error) {
      if (failureOf(error).status === 404) throw this.#missing();
      throw this.#toError('HEAD', error);
    }
  }

  async assertAccess(signal: AbortSignal): Promise<void> {
    let body: ObjectBody;
    try {
      body = await this.getSmall(`layercache-probe-${randomUUID()}`, signal);
    } catch (error) {
      if (error instanceof ObjectAbsentError) return;
      throw error;
    }
    body.stream.on('error', () => {}).destroy();
    throw new StorageError(`${this.description} has an object under any key, so it can tell no absence`);
  }

  async hasKeyWithPrefix(prefix: string, signal: AbortSignal): Promise<boolean> {
    try {
      const command = new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix, MaxKeys: 1 });
      const { Contents: found = [] } = await this.#lookups.send(command, { abortSignal: signal });
      return found.length > 0;
    } catch (error) {
      throw this.#toError('LIST', error);
    }
  }

  async listPage(folder: string, from: string | undefined, signal: AbortSignal): Promise<NamePage> {
    try {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: folder,
        Delimiter: '/',
        ...(from !== undefined && { ContinuationToken: from }),
      });
      const page = await this.#lookups.send(command, { abortSignal: signal });
      const keys = (page.Contents ?? []).map(({ Key }) => Key);
      const folders = (page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix);
      if (page.IsTruncated === true && page.NextContinuationToken === undefined)
        throw new StorageError(`${this.description} told a part of a listing and not how to go on`);
      return {
        names: namesBelow(folder, [...keys, ...folders]),
        next: page.IsTruncated === true ? page.NextContinuationToken : undefined,
      };
    } catch (error) {
      throw this.#toError('LIST', error);
    }
  }

  async signedUrl(key: string, seconds: number): Promise<string> {
    try {
      const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
      return await getSignedUrl(this.#signer, command, { expiresIn: seconds });
    } catch (error) {
      throw this.#toError('signature', error);
    }
  }

  close(): void {
    for (const client of [this.#bodies, this.#lookups, this.#signer]) client.destroy();
  }

  /** The client's error as one of `ObjectStore`'s. */
  #toError(what: string, error: unknown): Error {
    if (error instanceof StorageError) return error;
    const { status, code } = failureOf(error);
    if (code === 'NoSuchKey') return new ObjectAbsentError();
    if (code === 'NoSuchBucket') return this.#missing();
    if (status === 412) return new ObjectChangedError();
    if (status === 416) return new RangeBeyondEndError();
    // A HEAD has no body with an error code.
    if (code === 'AccessDenied' || (what === 'HEAD' && status === 403)) {
      return new StorageError(
        `${this.description} denies a ${what} (403): the credentials need s3:GetObject on its objects and s3:ListBucket on the bucket, without which an absent key is denied too`,
      );
    }
    if (code === 'CredentialsProviderError')
      return new StorageError(
        `${this.description} cannot be asked: the environment, the AWS profile and the machine hold no credentials`,
      );
    return new StorageError(
      `${this.description} failed a ${what}: ${status === undefined ? code : `${status} ${code}`}`,
    );
  }

  #missing(): StorageError {
    return new StorageError(`${this.description} does not exist`);
  }
}

function handler(maxSockets: number): NodeHttpHandler {
  // No timeouts: the operation has a deadline, which includes the wait for a connection.
  const agent = { keepAlive: true, maxSockets, highWaterMark: bodyBuffer };
  return new NodeHttpHandler({
    httpAgent: new HttpAgent(agent),
    httpsAgent: new HttpsAgent(agent),
    connectionTimeout: 0,
    requestTimeout: 0,
    socketTimeout: 0,
    // The default logger warns of a busy pool on the console.
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
  });
}

function bodyFrom(output: GetObjectCommandOutput, first: number): ObjectBody {
  const { Body: stream, ContentLength: length, ContentRange: range, ETag: version } = output;
  if (!(stream instanceof Readable)) throw new StorageError('the object store answered no body');
  return bodyOf(stream, { first, length, range, version });
}

/** HTTP status (`undefined` without an answer) and code of an error of the client. Its other fields hold what was signed. */
function failureOf(error: unknown): { readonly status: number | undefined; readonly code: string } {
  if (!(error instanceof Error)) return { status: undefined, code: 'unknown error' };
  const { $metadata, code } = error as Error & {
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly code?: unknown;
  };
  const status = $metadata?.httpStatusCode;
  // Without an answer the system's code (`ECONNREFUSED`) says more than the name of the error.
  return { status, code: status === undefined && typeof code === 'string' ? code : error.name };
}
