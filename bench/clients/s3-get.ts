/**
 * The S3 client alone: gets an object once to warm up, then so often, and
 * throws its bytes away. Arguments: endpoint, bucket, key, bytes of the object,
 * times. Prints the bytes a second and its own CPU seconds.
 */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';

const [endpoint = '', bucket, key, length, times] = process.argv.slice(2);
const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true });

async function once(): Promise<void> {
  const { Body, ContentLength } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  if (!(Body instanceof Readable) || ContentLength !== Number(length)) throw new Error('another object');
  await pipeline(Body, createWriteStream('/dev/null'));
}

await once();
const used = process.cpuUsage();
const begun = performance.now();
for (let time = 0; time < Number(times); time++) await once();
const rate = (Number(length) * Number(times) * 1000) / (performance.now() - begun);
const { user, system } = process.cpuUsage(used);
console.log(JSON.stringify({ rate, cpu: (user + system) / 1e6 }));
client.destroy();
