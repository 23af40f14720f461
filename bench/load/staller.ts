/**
 * Clients that stop reading in mid-Fetch, a connection each. Arguments: port,
 * path, file of requests, number of clients, bytes that each takes first, and how
 * it stops: "socket" (it reads its socket no more) or "window" (it reads, and
 * gives the stream no more room). Says "stalled" when all have, and stays until
 * it is killed.
 */
import { readFileSync } from 'node:fs';
import { Http2Client } from './http2-client.ts';

const [port, path = '', file = '', count, bytes, how] = process.argv.slice(2);
const message = readFileSync(file);
const length = message.readUInt32BE(0);
const prefix = Buffer.alloc(5);
prefix.writeUInt32BE(length, 1);
const request = Buffer.concat([prefix, message.subarray(4, 4 + length)]);

const clients = Array.from({ length: Number(count) }, () => {
  const client: Http2Client = new Http2Client({
    port: Number(port),
    kinds: [
      {
        fields: [
          [':method', 'POST'],
          [':scheme', 'http'],
          [':path', path],
          [':authority', `127.0.0.1:${port}`],
          ['content-type', 'application/grpc'],
          ['te', 'trailers'],
        ],
        expect: { kind: 'layer', bytes: 0 },
      },
    ],
    success: ['grpc-status', '0'],
    answered: () => fail(new Error('a Fetch ended')),
    failed: fail,
    ...(how === 'window' ? { window: Number(bytes) } : { stopsAfter: Number(bytes) }),
  });
  return client;
});
for (const client of clients) {
  await client.ready();
  client.call(request, 0);
  client.flush();
}
const timer = setInterval(() => {
  if (clients.some(({ read }) => read < Number(bytes))) return;
  clearInterval(timer);
  console.log('stalled');
}, 10);
setInterval(() => {}, 60_000);

function fail(error: Error): void {
  console.error(error.message);
  process.exit(1);
}
