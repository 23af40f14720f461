/** `POST /debug/profile?seconds=10` and `POST /debug/heap`: for who has the token, on this machine. */
import type { IncomingMessage } from 'node:http';
import { type Diagnosis, type DiagnosisResult, maxProfileSeconds } from '../telemetry/diagnostics.js';
import type { Answer } from './admin-server.js';

/** What the requests are carried out by. */
export interface DebugSource {
  /** Whether the `Authorization` header bears the token. */
  isAllowed(authorization: string | undefined): boolean;
  /** The result of each process. Never rejects. */
  diagnose(diagnosis: Diagnosis): Promise<readonly DiagnosisResult[]>;
}

/** Milliseconds beyond a profile's time that a heap snapshot and the writing may take. */
const writingMs = 300_000;

const plain = 'text/plain; charset=utf-8';

/** Answers a request for one of the two paths. */
export async function answerDebug(request: IncomingMessage, source: DebugSource): Promise<Answer> {
  const { method, url = '', headers, socket } = request;
  if (!isLoopbackAddress(socket.remoteAddress))
    return { status: 403, type: plain, body: 'only from this machine\n' };
  if (!source.isAllowed(headers.authorization))
    return {
      ...{ status: 401, type: plain, body: 'the token of --admin-token-file is needed\n' },
      headers: { 'www-authenticate': 'Bearer' },
    };
  if (method !== 'POST')
    return { status: 405, type: plain, body: 'method not allowed\n', headers: { allow: 'POST' } };
  const diagnosis = diagnosisOf(url);
  if (diagnosis === undefined)
    return { status: 400, type: plain, body: `seconds is a whole number from 1 to ${maxProfileSeconds}\n` };
  // Nothing passes for as long as it takes.
  socket.setTimeout((diagnosis.kind === 'cpu' ? diagnosis.seconds * 1000 : 0) + writingMs);
  return answerOf(await source.diagnose(diagnosis));
}

/** Whether the address of a peer is one of this machine's own loopback. */
export function isLoopbackAddress(address: string | undefined): boolean {
  return address !== undefined && /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/.test(address);
}

function diagnosisOf(url: string): Diagnosis | undefined {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  if (pathname === '/debug/heap') return { kind: 'heap' };
  const text = searchParams.get('seconds') ?? '10';
  const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  return seconds >= 1 && seconds <= maxProfileSeconds ? { kind: 'cpu', seconds } : undefined;
}

function answerOf(results: readonly DiagnosisResult[]): Answer {
  const files = results.flatMap((result) => ('file' in result ? result.file : []));
  const problems = results.flatMap((result) => ('problem' in result ? result.problem : []));
  const isBusy = results.every((result) => 'busy' in result);
  return {
    status: files.length > 0 ? 200 : isBusy ? 409 : 500,
    type: 'application/json; charset=utf-8',
    body: `${JSON.stringify({ files, problems })}\n`,
  };
}
