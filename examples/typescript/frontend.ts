/**
 * What a registry's frontend asks of layercache, in TypeScript.
 *
 * Usage: node frontend.ts ADDRESS[,ADDRESS...] REPOSITORY FILE DIGEST...
 */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LayerCacheClient, LayerCacheError } from 'layercache/client';

const [addresses = '', repository = '', file = '', first = '', ...others] = process.argv.slice(2);
// Deadlines, retries and round robin are the client's own; these are its defaults but for the time.
const client = new LayerCacheClient({ address: addresses.split(','), timeoutMs: 10_000 });

// A push asks what it has to upload: the age 0, so storage itself answers.
for (const digest of await client.findMissing(repository, [first, ...others], { maxAgeMs: 0 }))
  console.log('missing', digest);
console.log('length', Number((await client.stat(repository, first)).length));

// A broken stream is resumed, and the last bytes come only once the hash agrees.
const layer = await client.fetch(repository, first);
await pipeline(Readable.from(layer), createWriteStream(file));
console.log('fetched', Number(layer.length));

console.log('unknown:', await refused(client.stat(repository, `sha256:${'0'.repeat(64)}`)));
console.log('wrong:', await refused(client.stat(repository, 'sha256:42')));
client.close();

/** What layercache says beside the status: the reason, and the field of the request that is wrong. */
async function refused(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'nothing';
  } catch (error) {
    if (!(error instanceof LayerCacheError)) throw error;
    return [error.reason, error.field].filter((said) => said !== undefined).join(' ');
  }
}
