/** How callers are told apart, as the options say; what that needs is loaded only here. */
import type { Logger } from 'pino';
import type { Authenticator } from '../auth/authenticator.js';
import { OptionFiles } from '../cli/option-files.js';
import { type Config, ConfigError } from '../cli/options.js';
import type { LogLimiter } from '../telemetry/log-limiter.js';

/** Callers that are told apart, until it is closed. */
export interface Callers {
  readonly authenticator: Authenticator;
  close(): void;
}

/** `undefined` when everybody may do everything. Rejects with a `ConfigError` for files that cannot be used. */
export function openCallers(config: Config, log: Logger, limiter: LogLimiter): Promise<Callers | undefined> {
  switch (config.auth) {
    case 'none':
      return Promise.resolve(undefined);
    case 'jwt':
      return openTokens(config, log, limiter);
    case 'mtls':
      return openCertificates(config, log);
  }
}

async function openTokens(config: Config, log: Logger, limiter: LogLimiter): Promise<Callers> {
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
                { err: error, suppressed },
                'the key set of --auth-jwks cannot be had; the keys of before stay in use',
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
  // Not waited for: until it is there, what needs it is UNAVAILABLE, and the rest is served.
  void url?.refresh();
  return {
    authenticator,
    close: () => {
      files.close();
      url?.close();
    },
  };
}

async function openCertificates(config: Config, log: Logger): Promise<Callers> {
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
