/**
 * Clients that ask at their own pace and wait only so long, a process of its
 * own: an `DeadlineSpec` as its argument, an `DeadlineResult` on stdout.
 * Every Exists asks for another digest, so that none is a hit.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2';

export interface DeadlineSpec {
  /** On 127.0.0.1. */
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** Calls a second, made when due; or as many at once as that, each answer bringing the next. */
  readonly load: { readonly rate: number } | { readonly atOnce: number };
  /** Milliseconds that a client waits: told the server, and then given up. */
  readonly deadlineMs: number;
  readonly repository: string;
  /** The first digest's number; as many are taken as there are calls. */
  readonly firstDigest: number;
}

export interface DeadlineResult {
  readonly calls: number;
  /** Right answers within the deadline, a second. */
  readonly goodput: number;
  /** Of the calls: answered well, refused, too late, or otherwise. */
  readonly good: number;
  readonly refused: number;
  readonly late: number;
  readonly failed: number;
  /** Milliseconds until a right answer. */
  readonly p50: number;
  readonly p99: number;
}

const spec = JSON.parse(process.argv[2] ?? '') as DeadlineSpec;
/** Until queues have found their length. */
const rampMs = 1500;
const counts = { good: 0, refused: 0, late: 0, failed: 0 };
const took: number[] = [];
const sessions = Array.from({ length: spec.connections }, () => open());
let made = 0;
let underWay = 0;
let over = false;
const done = Promise.withResolvers<void>();

await Promise.all(
  sessions.map((session) => new Promise((resolve) => session.once('remoteSettings', resolve))),
);
const begun = performance.now();
const until = begun + rampMs + spec.seconds * 1000;
if ('rate' in spec.load) pace(spec.load.rate);
else for (let call = 0; call < spec.load.atOnce; call++) ask();
await done.promise;
for (const session of sessions) session.destroy();

took.sort((a, b) => a - b);
const result: DeadlineResult = {
  calls: made,
  goodput: took.length / spec.seconds,
  ...counts,
  p50: took[took.length >> 1] ?? Number.NaN,
  p99: took[Math.floor(took.length * 0.99)] ?? Number.NaN,
};
process.stdout.write(JSON.stringify(result));

function open(): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${spec.port}`);
  // Its calls fail, and are counted so.
  session.on('error', () => {});
  session.on('close', () => {
    if (!over) sessions[sessions.indexOf(session)] = open();
  });
  return session;
}

/** Sends what is due every millisecond. */
function pace(rate: number): void {
  const timer = setInterval(() => {
    const now = performance.now();
    const due = Math.floor(((Math.min(now, until) - begun) / 1000) * rate);
    while (made < due) ask();
    if (now < until) return;
    clearInterval(timer);
    over = true;
    if (underWay === 0) done.resolve();
  }, 1);
}

function ask(): void {
  const session = sessions[made % sessions.length] as ClientHttp2Session;
  const body = request(spec.firstDigest + made++);
  underWay++;
  const asked = performance.now();
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: '/layercache.v1.LayerCacheService/Exists',
    [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
    [constants.HTTP2_HEADER_TE]: 'trailers',
    'grpc-timeout': `${spec.deadlineMs}m`,
  });
  let status: string | undefined;
  const heard = (headers: IncomingHttpHeaders) => {
    status = String(headers['grpc-status'] ?? status);
  };
  stream
    .on('response', heard)
    .on('trailers', heard)
    .on('error', () => {})
    .resume();
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), spec.deadlineMs);
  stream.on('close', () => {
    clearTimeout(timer);
    ended(stream, status, asked);
  });
  stream.end(body);
}

function ended(stream: ClientHttp2Stream, status: string | undefined, asked: number): void {
  const now = performance.now();
  underWay--;
  const inTime = now - asked <= spec.deadlineMs;
  if (asked - begun >= rampMs && asked < until) count(status, inTime, stream.rstCode, now - asked);
  if ('atOnce' in spec.load && now < until) ask();
  else if ('atOnce' in spec.load) over = true;
  if (over && underWay === 0) done.resolve();
}

function count(status: string | undefined, inTime: boolean, reset: number, ms: number): void {
  if (status === '0' && inTime) {
    counts.good++;
    took.push(ms);
  } else if (status === '8') counts.refused++;
  else if (status === '4' || status === '0' || reset === constants.NGHTTP2_CANCEL) counts.late++;
  else counts.failed++;
}

/** An ExistsRequest in its gRPC frame. */
function request(digest: number): Buffer {
  const text = `sha256:${digest.toString(16).padStart(64, '0')}`;
  const message = Buffer.concat([
    Buffer.from([0x0a, spec.repository.length]),
    Buffer.from(spec.repository),
    Buffer.from([0x12, text.length]),
    Buffer.from(text),
  ]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}
