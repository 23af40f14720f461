/** Whether the cache can be reached, and is one that serves well. */
import type { Cluster, Redis } from 'ioredis';
import { CacheUrlError } from '../../cache/errors.js';
import { describeCache, parseCacheUrl } from '../../cache/open.js';
import { causeOf } from '../../telemetry/error-text.js';
import type { Config } from '../options.js';
import { redisClockFinding } from './clock-findings.js';
import { type Finding, fail, ok } from './finding.js';

/** Milliseconds; doctor asks whether Redis answers at all, and says by itself how long it takes. */
const answerMs = 2_000;

/** Asks the cache, which is left as it was. */
export async function cacheFindings(config: Config): Promise<Finding[]> {
  const target = parseCacheUrl(config.cache);
  const described = describeCache(config.cache);
  if ('max' in target) return [ok('cache', `${described}: of this process alone, and empty at each start`)];
  const [{ connectOnce }, { closeClient }] = await Promise.all([
    import('../../cache/redis/connect-once.js'),
    import('../../cache/redis/connection.js'),
  ]);
  let client: Redis | Cluster;
  try {
    client = await connectOnce(target, { timeoutMs: answerMs, onNotice: () => {} });
  } catch (error) {
    // A file of the URL has its reason in the cause.
    const said = error instanceof CacheUrlError ? `${described}: ${causeOf(error)}` : causeOf(error);
    // The library's own plans, which end with the command.
    const cause = said.replace(/ Retrying from scratch after \S+/, '');
    return [fail('cache', cause, connectAdvice(cause))];
  }
  try {
    return [ok('cache', `${described} is connected`), ...(await examine(client, config['cache-timeout']))];
  } catch (error) {
    return [
      fail('cache', `it does not answer: ${causeOf(error)}`, 'See whether Redis or the network hangs.'),
    ];
  } finally {
    await closeClient(client);
  }
}

async function examine(client: Redis | Cluster, timeoutMs: number): Promise<Finding[]> {
  const { examineRedis } = await import('./redis-examination.js');
  if (!client.isCluster) {
    const redis = client as Redis;
    return [...(await examineRedis(redis, 'cache', timeoutMs)), ...(await redisClockFinding(redis, 'cache'))];
  }
  const findings: Finding[] = [];
  for (const node of (client as Cluster).nodes('master')) {
    const { host, port } = node.options;
    const name = `cache ${host}:${port}`;
    try {
      findings.push(...nodeFindings(await examineRedis(node, name, timeoutMs)));
      findings.push(...(await redisClockFinding(node, name)));
    } catch (error) {
      findings.push(fail(name, `it does not answer: ${causeOf(error)}`, 'See whether that node hangs.'));
    }
  }
  return findings;
}

/** A master takes only the keys of its slots: a key elsewhere says that it would take its own. */
function nodeFindings(findings: readonly Finding[]): Finding[] {
  return findings.filter(({ status, cause }) => !(status === 'fail' && cause.includes(': MOVED ')));
}

function connectAdvice(cause: string): string {
  if (/sentinels/i.test(cause))
    return 'Start the sentinels, or correct their addresses and the name in --cache.';
  if (/cannot be read/.test(cause))
    return 'Correct the path in --cache, or let the account of the server read it.';
  if (/ECONNREFUSED|ENOENT|Connection is closed/.test(cause))
    return 'Start Redis, or correct the host and port of --cache.';
  if (/ETIMEDOUT|timeout/i.test(cause)) return 'See whether Redis or the network hangs.';
  if (/ENOTFOUND|EAI_AGAIN/.test(cause))
    return 'Correct the host of --cache, or the resolver of this machine.';
  if (/WRONGPASS|NOAUTH|AUTH/.test(cause)) return 'Correct the user and the password of --cache.';
  if (/certificate|self-signed|TLS|SSL|ECONNRESET/i.test(cause))
    return 'Redis and --cache must both speak TLS (rediss) or neither; ca= names the authority.';
  return 'See that Redis runs and can be reached from this machine.';
}
