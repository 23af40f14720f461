/** Whether what tokens and client certificates are judged by can be used. */
import { pino } from 'pino';
import { openAuthentication } from '../../server/authentication.js';
import { causeOf } from '../../telemetry/error-text.js';
import { LogLimiter } from '../../telemetry/log-limiter.js';
import { type Config, ConfigError } from '../options.js';
import { type Finding, fail, ok } from './finding.js';

export async function authFindings(config: Config): Promise<Finding[]> {
  if (config.auth === 'none') return [ok('auth', 'every client may ask about every repository')];
  const limiter = new LogLimiter(1000);
  try {
    const authentication = await openAuthentication(config, pino({ enabled: false }), limiter);
    authentication?.close();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [fail('auth', error.message, 'Correct the file, or let the account of the server read it.')];
  } finally {
    limiter.close();
  }
  const jwks = config['auth-jwks'] ?? '';
  if (!/^https?:/i.test(jwks)) return [ok('auth', `${config.auth}: its files can be used`)];
  return [await keySetFinding(jwks)];
}

async function keySetFinding(url: string): Promise<Finding> {
  const { KeySetUrl } = await import('../../auth/key-set-url.js');
  let failure: unknown;
  const keySet = new KeySetUrl(url, {
    changed: () => {},
    failed: (error) => {
      failure = error;
    },
  });
  await keySet.refresh();
  keySet.close();
  if (failure === undefined) return ok('auth', 'the key set of --auth-jwks can be fetched');
  return fail(
    'auth',
    `the key set of --auth-jwks cannot be fetched: ${causeOf(failure)}`,
    'See that the issuer can be reached from this machine.',
  );
}
