/**
 * What grpc-js costs with no service behind it: Exists calls back at once, and
 * Fetch is the plain way to write it, `call.write` of generated messages.
 * Arguments: the layout's root. Prints its port.
 */
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import {
  type LayerCacheServiceServer,
  LayerCacheServiceService,
  Source,
} from '../../dist/gen/layercache/v1/layer_cache.js';
import { parseDigest } from '../../dist/reference/digest.js';
import { blobPath } from '../../dist/reference/layout.js';

const root = process.argv[2] ?? '';
const defaultChunk = 64 << 10;
const answer = { exists: true, source: Source.SOURCE_CACHE };

const handlers: Pick<LayerCacheServiceServer, 'exists' | 'fetch'> = {
  exists: (_, callback) => callback(null, answer),
  fetch: async (call) => {
    const { digest: text, chunkSize } = call.request;
    const digest = parseDigest(text);
    if (digest === undefined) throw new Error('no digest');
    const file = await open(join(root, blobPath(digest)));
    const length = BigInt((await file.stat()).size);
    const header = { digest, length, offset: 0n, source: Source.SOURCE_CACHE, redirectUrl: '' };
    call.write({ part: { $case: 'header', value: header } });
    const chunks = file.createReadStream({ highWaterMark: chunkSize || defaultChunk });
    for await (const chunk of chunks) {
      if (!call.write({ part: { $case: 'chunk', value: chunk } })) await once(call, 'drain');
    }
    call.end();
  },
};

const server = new Server({ 'grpc.max_receive_message_length': 1 << 20 });
server.addService(LayerCacheServiceService, handlers as LayerCacheServiceServer & Record<string, never>);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  console.log(port);
});
