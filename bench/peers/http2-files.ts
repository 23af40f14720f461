/**
 * What Node's HTTP/2 can do with a file and nothing else: reads of 1 MiB into a
 * reused buffer, one write each. Arguments: the layout's root. Prints its port.
 */
import { open } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const root = process.argv[2] ?? '';
const chunk = 1 << 20;
const buffers: Buffer[] = [];

async function serve(stream: ServerHttp2Stream, path: string): Promise<void> {
  const file = await open(join(root, path));
  const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(chunk);
  stream.respond({ ':status': 200 });
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(buffer, 0, chunk, at);
    if (bytesRead === 0) break;
    at += bytesRead;
    await new Promise<void>((resolve, reject) => {
      stream.write(buffer.subarray(0, bytesRead), (error) => (error ? reject(error) : resolve()));
    });
  }
  buffers.push(buffer);
  stream.end();
  await file.close();
}

const server = createServer();
server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
  serve(stream, headers[':path'] ?? '').catch((error: unknown) => stream.destroy(error as Error));
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
