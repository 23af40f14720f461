/**
 * Azure's blob storage. The credentials must be for reading blobs and for listing
 * the container, and for nothing else.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import {
  AnonymousCredential,
  BlobSASPermissions,
  ContainerClient,
  generateBlobSASQueryParameters,
  newPipeline,
  type Pipeline,
  type RequestPolicyFactory,
  StorageRetryPolicyType,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
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
import type { AzureAccess, AzureLocation } from './url.js';

/** The most names of a page. */
const pageLength = 1000;

/** Milliseconds before a failed request is repeated: the first time, and at most. */
const firstRetryDelay = 100;
const maxRetryDelay = 1000;

/** Milliseconds by which a signature begins before now, since clocks differ. */
const clockSkewMs = 60_000;

type Credential = StorageSharedKeyCredential | AnonymousCredential;

export class AzureStore implements ObjectStore {
  readonly name = 'azblob';
  readonly description: string;
  readonly #container: string;
  readonly #agents: readonly (HttpAgent | HttpsAgent)[];
  readonly #bodies: ContainerClient;
  readonly #lookups: ContainerClient;
  readonly #key: StorageSharedKeyCredential | undefined;
  /** Where clients reach the container. */
  readonly #outside: string;

  constructor(location: AzureLocation, access: AzureAccess) {
    const { account, container, connections, redirectEndpoint } = location;
    const { key, signature, endpoint } = access;
    this.#container = container;
    this.description = `the container ${container}`;
    this.#key = key === undefined ? undefined : new StorageSharedKeyCredential(account, key);
    this.#outside = `${redirectEndpoint ?? endpoint}/${container}`;
    const url = `${endpoint}/${container}${signature === undefined ? '' : `?${signature}`}`;
    const isSecure = endpoint.startsWith('https:');
    const agents = [connections, lookupConnections].map((most) => agentOf(isSecure, most));
    const [bodies, lookups] = agents.map(
      (agent) => new ContainerClient(url, pipelineOf(this.#key ?? new AnonymousCredential(), agent)),
    );
    if (bodies === undefined || lookups === undefined) throw new TypeError('two clients were made');
    this.#agents = agents;
    this.#bodies = bodies;
    this.#lookups = lookups;
  }

  async get(
    key: string,
    { first, last }: ObjectRange,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<ObjectBody> {
    const count = last === undefined ? undefined : last - first + 1;
    return this.#download(this.#bodies, key, { first, count, version }, signal);
  }

  async getSmall(key: string, signal: AbortSignal): Promise<ObjectBody> {
    return this.#download(this.#lookups, key, { first: 0, count: undefined, version: undefined }, signal);
  }

  async head(key: string, signal: AbortSignal): Promise<BlobStat> {
    try {
      const { contentLength: size, etag: version } = await this.#lookups
        .getBlobClient(key)
        .getProperties({ abortSignal: signal });
      if (size === undefined || version === undefined)
        throw new StorageError('the object store told no length or no ETag');
      return { size, version };
    } catch (error) {
      throw this.#toError('HEAD', error);
    }
  }

  async assertExists(signal: AbortSignal): Promise<void> {
    // A signature that may list a container may not ask for its properties.
    await this.hasKeyWithPrefix('', signal);
  }

  async assertAccess(signal: AbortSignal): Promise<void> {
    await this.assertExists(signal);
  }

  async hasKeyWithPrefix(prefix: string, signal: AbortSignal): Promise<boolean> {
    try {
      const pages = this.#lookups.listBlobsFlat({ prefix, abortSignal: signal }).byPage({ maxPageSize: 1 });
      for await (const { segment } of pages) if (segment.blobItems.length > 0) return true;
      return false;
    } catch (error) {
      throw this.#toError('LIST', error);
    }
  }

  async listPage(folder: string, from: string | undefined, signal: AbortSignal): Promise<NamePage> {
    try {
      const pages = this.#lookups.listBlobsByHierarchy('/', { prefix: folder, abortSignal: signal }).byPage({
        maxPageSize: pageLength,
        ...(from !== undefined && { continuationToken: from }),
      });
      for await (const { segment, continuationToken } of pages) {
        const listed = [...segment.blobItems, ...(segment.blobPrefixes ?? [])];
        return {
          names: namesBelow(
            folder,
            listed.map(({ name }) => name),
          ),
          next: continuationToken === '' ? undefined : continuationToken,
        };
      }
      return { names: [], next: undefined };
    } catch (error) {
      throw this.#toError('LIST', error);
    }
  }

  async signedUrl(key: string, seconds: number): Promise<string | undefined> {
    // A shared access signature was given to this server and is not passed on.
    if (this.#key === undefined) return undefined;
    const now = Date.now();
    const parameters = generateBlobSASQueryParameters(
      {
        containerName: this.#container,
        blobName: key,
        permissions: BlobSASPermissions.parse('r'),
        startsOn: new Date(now - clockSkewMs),
        expiresOn: new Date(now + seconds * 1000),
      },
      this.#key,
    );
    return `${this.#outside}/${key.split('/').map(encodeURIComponent).join('/')}?${parameters}`;
  }

  close(): void {
    for (const agent of this.#agents) agent.destroy();
  }

  async #download(
    client: ContainerClient,
    key: string,
    { first, count, version }: { first: number; count: number | undefined; version: string | undefined },
    signal: AbortSignal,
  ): Promise<ObjectBody> {
    try {
      const { readableStreamBody, contentLength, contentRange, etag } = await client
        .getBlobClient(key)
        .download(first, count, {
          abortSignal: signal,
          // The reader resumes a broken body, with a deadline of its own.
          maxRetryRequests: 0,
          ...(version !== undefined && { conditions: { ifMatch: version } }),
        });
      if (!(readableStreamBody instanceof Readable))
        throw new StorageError('the object store answered no body');
      return bodyOf(readableStreamBody, { first, length: contentLength, range: contentRange, version: etag });
    } catch (error) {
      throw this.#toError('GET', error);
    }
  }

  /** The client's error as one of `ObjectStore`'s. */
  #toError(what: string, error: unknown): Error {
    if (error instanceof StorageError) return error;
    const { status, code } = failureOf(error);
    if (code === 'BlobNotFound') return new ObjectAbsentError();
    if (code === 'ContainerNotFound') return new StorageError(`${this.description} does not exist`);
    if (status === 412) return new ObjectChangedError();
    if (status === 416) return new RangeBeyondEndError();
    const denied =
      status === 403 ? ': the credentials must be for reading blobs and listing the container' : '';
    return new StorageError(
      `${this.description} failed a ${what}: ${status === undefined ? code : `${status} ${code}`}${denied}`,
    );
  }
}

/** Status and code of an error. Its request is left out: URL and headers hold the signature. */
function failureOf(error: unknown): { readonly status: number | undefined; readonly code: string } {
  if (!(error instanceof Error)) return { status: undefined, code: 'unknown error' };
  const { statusCode, code, details } = error as Error & {
    readonly statusCode?: number;
    readonly code?: unknown;
    readonly details?: { readonly errorCode?: unknown };
  };
  // A HEAD has no body: its code is in a header.
  const told = [code, details?.errorCode].find((one) => typeof one === 'string');
  return { status: statusCode, code: typeof told === 'string' ? told : error.name };
}

function agentOf(isSecure: boolean, maxSockets: number): HttpAgent | HttpsAgent {
  const options = { keepAlive: true, maxSockets, highWaterMark: bodyBuffer };
  return isSecure ? new HttpsAgent(options) : new HttpAgent(options);
}

function pipelineOf(credential: Credential, agent: HttpAgent | HttpsAgent): Pipeline {
  const pipeline = newPipeline(credential, {
    // No timeout: the operation has a deadline, which includes the wait for a connection.
    retryOptions: {
      retryPolicyType: StorageRetryPolicyType.EXPONENTIAL,
      maxTries: maxAttempts,
      retryDelayInMs: firstRetryDelay,
      maxRetryDelayInMs: maxRetryDelay,
    },
  });
  const overAgent: RequestPolicyFactory = {
    create: (next) => ({
      sendRequest: (request) => {
        request.agent = agent;
        return next.sendRequest(request);
      },
    }),
  };
  pipeline.factories.push(overAgent);
  return pipeline;
}
