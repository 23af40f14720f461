/**
 * A registry frontend: it answers HEAD and GET of blobs by layercache and passes
 * the rest to the registry behind it. Docker's own clients pull through it.
 *
 *     node examples/frontend/frontend.ts --registry http://127.0.0.1:5000 \
 *       --layercache 127.0.0.1:50051 --listen 127.0.0.1:5001 [--redirect]
 */
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { LayerCacheClient, LayerCacheError } from 'layercache/client';
import { type ByteRange, parseRange } from './byte-range.ts';

const { values: options } = parseArgs({
  options: {
    registry: { type: 'string', default: 'http://127.0.0.1:5000' },
    layercache: { type: 'string', default: '127.0.0.1:50051' },
    listen: { type: 'string', default: '127.0.0.1:5001' },
    // Whether clients may be sent to the object store itself.
    redirect: { type: 'boolean', default: false },
  },
});
const client = new LayerCacheClient({ address: options.layercache });

const blobUrl = /^\/v2\/(?<repository>[^?]+)\/blobs\/(?<digest>[a-z0-9]+:[0-9a-f]+)$/;

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { repository, digest } = blobUrl.exec(request.url ?? '')?.groups ?? {};
  if (repository === undefined || digest === undefined) return await pass(request, response);
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const blob = { repository, digest, signal: gone.signal };
  try {
    if (request.method === 'HEAD') return await head(blob, request, response);
    if (request.method === 'GET') return await get(blob, request, response);
  } catch (error) {
    // Whoever left needs no answer. A body that has begun must not end as if it were whole.
    if (gone.signal.aborted || response.headersSent) return void response.destroy();
    if (!(error instanceof LayerCacheError)) throw error;
    if (error.code === 'NOT_FOUND') return refuse(404, 'BLOB_UNKNOWN', request, response);
    // Damaged bytes are damaged at the registry, too, which does not look.
    if (error.code === 'DATA_LOSS') return refuse(500, 'UNKNOWN', request, response);
    // Nothing is known of the blob, so the registry is asked.
    return await pass(request, response);
  }
  await pass(request, response);
  if (request.method !== 'DELETE') return;
  // What was deleted is forgotten at once; should that fail, the server's own checks find out.
  await client.remove(repository, digest).catch((error: unknown) => console.error(String(error)));
}

interface Blob {
  readonly repository: string;
  readonly digest: string;
  readonly signal: AbortSignal;
}

/** A push asks by HEAD which uploads it may skip, so the storage is asked now. */
async function head(blob: Blob, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { signal } = blob;
  const { length } = await client.stat(blob.repository, blob.digest, { maxAgeMs: 0, signal });
  if (isKnown(request, blob.digest)) return void response.writeHead(304, headersOf(blob)).end();
  response.writeHead(200, { ...headersOf(blob), 'content-length': length }).end();
}

async function get(blob: Blob, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { repository, digest, signal } = blob;
  if (isKnown(request, digest)) {
    await client.stat(repository, digest, { signal });
    return void response.writeHead(304, headersOf(blob)).end();
  }
  let range: ByteRange | undefined;
  if (isRangeWanted(request, digest)) {
    const { length } = await client.stat(repository, digest, { signal });
    const asked = parseRange(request.headers.range ?? '', length);
    if (asked === 'unsatisfiable')
      return void response.writeHead(416, { 'content-range': `bytes */${length}` }).end();
    range = asked;
  }
  const layer = await client.fetch(repository, digest, { ...range, redirect: options.redirect, signal });
  if (layer.redirectUrl !== undefined)
    return void response
      .writeHead(307, { location: layer.redirectUrl, 'docker-content-digest': digest })
      .end();
  const headers = { ...headersOf(blob), 'content-length': layer.remaining };
  if (range === undefined) response.writeHead(200, headers);
  else {
    const last = layer.offset + layer.remaining - 1;
    response.writeHead(206, { ...headers, 'content-range': `bytes ${layer.offset}-${last}/${layer.length}` });
  }
  // Destroys the response when the layer breaks off: a short body never ends well.
  await pipeline(layer, response);
}

function headersOf({ digest }: Blob) {
  return {
    'accept-ranges': 'bytes',
    'cache-control': 'max-age=31536000',
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    etag: `"${digest}"`,
  };
}

function isKnown(request: IncomingMessage, digest: string): boolean {
  const known = request.headers['if-none-match'] ?? '';
  return known.split(',').some((tag) => [`"${digest}"`, `W/"${digest}"`, '*'].includes(tag.trim()));
}

function isRangeWanted({ headers }: IncomingMessage, digest: string): boolean {
  const condition = headers['if-range'];
  return headers.range !== undefined && (condition === undefined || condition === `"${digest}"`);
}

function refuse(status: number, code: string, request: IncomingMessage, response: ServerResponse): void {
  const body = JSON.stringify({ errors: [{ code, message: 'the blob cannot be served' }] });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : body);
}

/** Hands the request to the registry and its answer back, both as they are. */
async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, headers, url } = request;
  const passed = httpRequest(new URL(url ?? '/', options.registry), { method, headers });
  const [answered] = await Promise.all([
    once(passed, 'response') as Promise<[IncomingMessage]>,
    pipeline(request, passed),
  ]);
  const [from] = answered;
  response.writeHead(from.statusCode ?? 502, from.headers);
  await pipeline(from, response);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    console.error(String(error));
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end();
  });
});
const [host = '127.0.0.1', port = '5001'] = options.listen.split(':');
server.listen(Number(port), host, () => {
  console.log(`listening on ${host}:${(server.address() as AddressInfo).port}`);
});
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  client.close();
});
