/** Takes what is exported and counts it: POST anything; GET answers the number of posts. Prints its port. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

let posts = 0;
const server = createServer((request, response) => {
  if (request.method === 'POST') posts++;
  request.resume().on('end', () => response.end(request.method === 'GET' ? String(posts) : ''));
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
