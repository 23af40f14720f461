/** How clients authenticate, by the options; the code of each way is loaded only when it is asked for. */

import type { Logger } from 'pino';
import type { Authenticator } from '../auth/authenticator.js';
import { OptionFiles } from '../cli/option-files.js';
import { type Config, ConfigError } from '../cli/options.js';
import { withCause, withoutStack } from '../telemetry/error-text.js';
import type { LogLimiter } from '../telemetry/log-limiter.js';

/** An authenticator and its files, until it is closed. */
export interface Authentication {
  readonly authenticator: Authenticator;
  /** Milliseconds since the key set was fetched, where it comes from a URL. */
  readonly keySetAgeMs?: () => number;
  close(): void;
}

/** `undefined` for `--auth none`. Rejects with a `ConfigError` for files that cannot be used. */
export function openAuthentication(
  config: Config,
  log: Logger,
  limiter: LogLimiter,
): Promise<Authentication | undefined> {
  switch (config.auth) {
    case 'none':
      return Promise.resolve(undefined);
    case 'jwt':
      return openTokens(config, log, limiter);
    case 'mtls':
      return openCertificates(config, log);
  }
}

async function openTokens(config: Config, log: Logger, limiter: LogLimiter): Promise<Authentication> {
  const [{ SigningKeys }, { KeySetUrl }, { TokenVerifier }, { TokenAuthenticator }] = await Promise.all([
    import('../auth/signing-keys.js'),
    import('../auth/key-set-url.js'),
    import('../auth/token-verifier.js'),
    import('../auth/token-authenticator.js'),
  ]);
  const jwks = config['auth-jwks'];
  const isUrl = /^https?:/i.test(jwks ?? '');
  const names = ['auth-rootcertbundle', ...(isUrl ? [] : ['auth-jwks' as const])] as const;
  const files = await OptionFiles.open(config, names, log);
  const contents = () => ({ rootCertBundle: files.of('auth-rootcertbundle'), jwks: files.of('auth-jwks') });
  const url =
    isUrl && jwks !== undefined
      ? new KeySetUrl(jwks, {
          changed: () => authenticator.forget(),
          failed: (error) =>
            limiter.write('key set', (suppressed) =>
              log.error(
                { err: withoutStack(error), suppressed },
                withCause(
                  'the key set of --auth-jwks cannot be fetched, the keys of before stay in use',
                  error,
                ),
              ),
            ),
        })
      : undefined;
  const keys = usable(files, () => new SigningKeys(contents(), url));
  const authenticator = new TokenAuthenticator(
    await TokenVerifier.load(keys, {
      issuer: config['auth-issuer'] ?? '',
      service: config['auth-service'] ?? '',
    }),
  );
  files.follow(() => {
    keys.renew(contents());
    authenticator.forget();
  });
  // Not awaited: until the set is there, calls that need it are UNAVAILABLE.
  void url?.refresh();
  return {
    authenticator,
    ...(url && { keySetAgeMs: () => url.ageMs }),
    close: () => {
      files.close();
      url?.close();
    },
  };
}

async function openCertificates(config: Config, log: Logger): Promise<Authentication> {
  const [{ AccessPolicy }, { CertificateAuthenticator }] = await Promise.all([
    import('../auth/access-policy.js'),
    import('../auth/certificate-authenticator.js'),
  ]);
  const files = await OptionFiles.open(config, ['auth-policy'], log);
  const policy = () => new AccessPolicy(String(files.of('auth-policy')));
  const authenticator = new CertificateAuthenticator(usable(files, policy));
  files.follow(() => authenticator.renew(policy()));
  return { authenticator, close: () => files.close() };
}

/** Contents that cannot be used are a mistake in the options that name the files. */
function usable<T>(files: OptionFiles, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new ConfigError(`${files.options.join(', ')}: ${error.message}`, { cause: error });
  }
}
