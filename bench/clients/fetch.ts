/**
 * A grpc-js client, as generated: fetches a layer once to warm its channel,
 * then so often. Arguments: port, request (base64), bytes of the layer, times,
 * flow-control window (0 leaves the library's own). Prints the bytes a second.
 */
import { credentials } from '@grpc/grpc-js';
import { FetchRequest, LayerCacheServiceClient } from '../../dist/gen/layercache/v1/layer_cache.js';

const [port, base64 = '', length, times, window] = process.argv.slice(2);
const request = FetchRequest.decode(Buffer.from(base64, 'base64'));
const client = new LayerCacheServiceClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
  'grpc.enable_http_proxy': 0,
  ...(Number(window) > 0 && { 'grpc-node.flow_control_window': Number(window) }),
});

async function once(): Promise<void> {
  let got = 0;
  for await (const message of client.fetch(request)) {
    if (message.part?.$case === 'chunk') got += message.part.value.length;
  }
  if (got !== Number(length)) throw new Error(`${got} bytes, not ${length}`);
}

await once();
const begun = performance.now();
for (let time = 0; time < Number(times); time++) await once();
console.log((Number(length) * Number(times) * 1000) / (performance.now() - begun));
client.close();
