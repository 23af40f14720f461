/** The load generator, a process of its own: a `LoadSpec` as its argument, a `LoadResult` on stdout. */
import { readFileSync } from 'node:fs';
import { Http1Client } from './http1-client.ts';
import { Http2Client } from './http2-client.ts';
import type { CallKind, LoadResult, LoadSpec } from './load-spec.ts';

const spec = JSON.parse(process.argv[2] ?? '') as LoadSpec;
const kinds = spec.kinds.map((kind) => ({ ...kind, messages: readRequests(spec, kind), next: 0 }));
const ca = spec.caFile === undefined ? undefined : readFileSync(spec.caFile);
const answered: number[] = [];
const rampMs = Math.min(400, (spec.seconds ?? 0) * 250);
const done = Promise.withResolvers<void>();
let bytes = 0;
let sent = 0;
let begun = 0;
let lastAnswer = 0;
let over = false;
let inFlight = 0;
let inRamp = 0;

const clients = Array.from({ length: spec.connections }, (_, index) => open(index));
await Promise.all(clients.map((client) => client.ready())).catch(end);

const cpuBefore = process.cpuUsage();
begun = performance.now();
const until = spec.seconds === undefined ? Number.POSITIVE_INFINITY : begun + spec.seconds * 1000;
if (spec.rate === undefined) {
  for (const client of clients) {
    for (let stream = 0; stream < (spec.protocol === 'http1' ? 1 : spec.streams); stream++) next(client);
    client.flush();
  }
} else {
  pace(spec.rate);
}
await done.promise.catch(end);
const cpu = process.cpuUsage(cpuBefore);
for (const client of clients) client.close();

const seconds = (lastAnswer - begun) / 1000;
const rampSeconds = inRamp === 0 ? 0 : rampMs / 1000;
const rate = (answered.length - inRamp) / (seconds - rampSeconds);
// Latencies of the ramp tell of the generator's own compiler.
answered.splice(0, inRamp);
answered.sort((a, b) => a - b);
const result: LoadResult = {
  calls: inRamp + answered.length,
  rate,
  seconds,
  bytes,
  p50: percentile(0.5),
  p99: percentile(0.99),
  cpu: (cpu.user + cpu.system) / 1e6 / seconds,
};
process.stdout.write(JSON.stringify(result));

function open(index: number): Http1Client | Http2Client {
  const failed = (error: Error) => done.reject(error);
  const took = (client: () => Http1Client | Http2Client) => (asked: number, layerBytes: number) => {
    lastAnswer = performance.now();
    answered.push((lastAnswer - asked) * 1000);
    bytes += layerBytes;
    if (spec.seconds !== undefined && lastAnswer - begun < rampMs) inRamp++;
    inFlight--;
    if (spec.rate === undefined) next(client());
    if (inFlight === 0 && (over || spec.rate === undefined)) done.resolve();
  };
  if (spec.protocol === 'http1') {
    const client: Http1Client = new Http1Client({
      port: spec.port,
      expect: spec.kinds[0]?.expect ?? { kind: 'any' },
      answered: took(() => client),
      failed,
    });
    return client;
  }
  const grpc = spec.protocol === 'grpc';
  const client: Http2Client = new Http2Client({
    port: spec.port,
    ca,
    kinds: spec.kinds.map(({ paths, expect }) => ({
      fields: [
        [':method', grpc ? 'POST' : 'GET'],
        [':scheme', ca === undefined ? 'http' : 'https'],
        [':path', paths[index % paths.length] ?? ''],
        [':authority', `127.0.0.1:${spec.port}`],
        ['user-agent', 'layercache-bench'],
        ...(grpc
          ? ([
              ['content-type', 'application/grpc'],
              ['te', 'trailers'],
            ] as const)
          : []),
      ],
      expect,
    })),
    success: grpc ? ['grpc-status', '0'] : [':status', '200'],
    answered: took(() => client),
    failed,
  });
  return client;
}

/** Whether there was one more to make. */
function next(client: Http1Client | Http2Client): boolean {
  if (sent === spec.calls || performance.now() >= until) return false;
  const index = spec.cycle[sent++ % spec.cycle.length] ?? 0;
  const kind = kinds[index];
  if (kind === undefined) throw new Error(`no kind ${index}`);
  const request = kind.next++ % kind.messages.length;
  client.call(kind.messages[request] as Buffer, request, index);
  inFlight++;
  return true;
}

/** Sends what is due every millisecond. */
function pace(rate: number): void {
  const timer = setInterval(() => {
    const now = performance.now();
    const due = Math.floor(((Math.min(now, until) - begun) / 1000) * rate);
    while (sent < due) {
      const client = clients[sent % clients.length] as Http2Client;
      // The time may end between two calls.
      if (!next(client)) break;
      client.flush();
    }
    if (now < until) return;
    clearInterval(timer);
    over = true;
    if (inFlight === 0) done.resolve();
  }, 1);
}

function percentile(share: number): number {
  return answered[Math.min(answered.length - 1, Math.floor(answered.length * share))] ?? 0;
}

function end(error: unknown): never {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

/** For gRPC with the message prefix in front. */
function readRequests({ protocol }: LoadSpec, { requests: file }: CallKind): Buffer[] {
  if (protocol === 'http2') return [Buffer.alloc(0)];
  const all = readFileSync(file);
  const list: Buffer[] = [];
  for (let at = 0; at < all.length; ) {
    const length = all.readUInt32BE(at);
    const body = all.subarray(at + 4, at + 4 + length);
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(length, 1);
    list.push(protocol === 'grpc' ? Buffer.concat([prefix, body]) : body);
    at += 4 + length;
  }
  return list;
}
