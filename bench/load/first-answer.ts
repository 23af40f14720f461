import { readFileSync } from 'node:fs';
import type { Calls } from '../requests.ts';
import { Http2Client } from './http2-client.ts';

/** Milliseconds from now to the answer to the first of these requests, its connection included. */
export async function firstAnswer(port: number, { paths: [path = ''], requests }: Calls): Promise<number> {
  const begun = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const client = new Http2Client({
    port,
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
        expect: { kind: 'any' },
      },
    ],
    success: ['grpc-status', '0'],
    answered: () => resolve(),
    failed: reject,
  });
  const file = readFileSync(requests);
  const message = file.subarray(4, 4 + file.readUInt32BE(0));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  client.call(Buffer.concat([prefix, message]), 0);
  client.flush();
  await promise;
  client.close();
  return performance.now() - begun;
}
