/** What a Redis server says of itself, and whether it takes what the cache asks. */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { isRefusedCommand } from '../../cache/redis/commands.js';
import { membershipsKey } from '../../cache/redis/key-names.js';
import { causeOf } from '../../telemetry/error-text.js';
import { type Finding, fail, ok, warn } from './finding.js';

/** Round trips of which the median counts. */
const pings = 5;

/** Examines one server, which `name` calls by its address where there are several. `timeoutMs` is the cache's own deadline. */
export async function examineRedis(redis: Redis, name: string, timeoutMs: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  findings.push(await latencyFinding(redis, name, timeoutMs));
  const info = await infoOf(redis);
  if (info === undefined)
    findings.push(
      warn(
        name,
        'INFO is refused, so that version, role and memory are unknown',
        'Give the account +info, or look there yourself.',
      ),
    );
  else findings.push(...infoFindings(info, name));
  findings.push(await batchFinding(redis, name), await writeFinding(redis, name));
  return findings;
}

async function latencyFinding(redis: Redis, name: string, timeoutMs: number): Promise<Finding> {
  const times: number[] = [];
  for (let index = 0; index < pings; index++) {
    const begun = performance.now();
    await redis.ping();
    times.push(performance.now() - begun);
  }
  const median = times.sort((one, other) => one - other)[Math.floor(pings / 2)] ?? 0;
  const cause = `a round trip takes ${median < 10 ? median.toFixed(1) : Math.round(median)} ms`;
  if (median < timeoutMs / 4) return ok(name, cause);
  return warn(
    name,
    `${cause} of the ${timeoutMs} ms of --cache-timeout`,
    'Raise --cache-timeout, or bring Redis nearer.',
  );
}

async function infoOf(redis: Redis): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    const text = String(await redis.call('INFO'));
    return new Map(
      Array.from(text.matchAll(/^(\w+):(.*?)\r?$/gm), ([, key = '', value = '']) => [key, value]),
    );
  } catch (error) {
    if (isRefusedCommand(error)) return undefined;
    throw error;
  }
}

function infoFindings(info: ReadonlyMap<string, string>, name: string): Finding[] {
  const version = info.get('redis_version') ?? 'unknown';
  const findings = [ok(name, `version ${version}, ${info.get('role') ?? 'of unknown role'}`)];
  if (info.get('loading') === '1')
    findings.push(warn(name, 'it still loads its data', 'Wait: until then every answer comes from storage.'));
  const limit = Number(info.get('maxmemory') ?? 0);
  const policy = info.get('maxmemory_policy') ?? '';
  if (limit === 0) findings.push(ok(name, 'it has no memory limit'));
  else if (policy === 'noeviction')
    findings.push(
      warn(
        name,
        `its memory is limited to ${Math.round(limit / 2 ** 20)} MiB and its policy is noeviction: when it is full, new layers are never cached`,
        'Set maxmemory-policy allkeys-lru.',
      ),
    );
  else findings.push(ok(name, `memory ${Math.round(limit / 2 ** 20)} MiB, ${policy}`));
  return findings;
}

async function batchFinding(redis: Redis, name: string): Promise<Finding> {
  const known = ok(name, 'many digests are asked for in one command (SMISMEMBER)');
  try {
    await redis.smismember(membershipsKey(`layercache-doctor/${randomUUID()}`), 'x');
    return known;
  } catch (error) {
    // A node of a cluster knows the command, and not the key.
    if (causeOf(error).startsWith('MOVED')) return known;
    if (!isRefusedCommand(error)) throw error;
    return warn(
      name,
      `SMISMEMBER is refused (${error.message}): each digest is a command of its own`,
      'Use Redis 6.2 or newer, and give the account +smismember.',
    );
  }
}

/** Adds a membership of a repository that nobody has, and deletes it. */
async function writeFinding(redis: Redis, name: string): Promise<Finding> {
  const key = membershipsKey(`layercache-doctor/${randomUUID()}`);
  try {
    await redis.sadd(key, 'x');
    await redis.del(key);
    return ok(name, 'it takes writes');
  } catch (error) {
    const cause = causeOf(error);
    return fail(name, `it refuses writes, so that new layers are never cached: ${cause}`, writeAdvice(cause));
  }
}

function writeAdvice(cause: string): string {
  if (cause.startsWith('READONLY')) return 'It is a replica: name the master, or redis+sentinel://.';
  if (cause.startsWith('OOM'))
    return 'Its memory is full: set maxmemory-policy allkeys-lru, or give it more.';
  if (cause.startsWith('NOPERM')) return 'Give the account the commands of docs/configuration.md.';
  if (cause.startsWith('MOVED')) return 'It is a node of a cluster: write redis+cluster://.';
  if (cause.startsWith('MISCONF')) return 'It cannot save to its disk: see its log.';
  return 'See its log.';
}
