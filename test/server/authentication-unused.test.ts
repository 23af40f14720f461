import { registerHooks } from 'node:module';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type OptionName, resolveConfig } from '../../src/cli/options.js';
import { LogLimiter } from '../../src/telemetry/log-limiter.js';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { LogLines } from '../parts/log-lines.js';

let authority: CertificateAuthority;
beforeAll(async () => {
  authority = await CertificateAuthority.create();
});
afterAll(() => authority.delete());

// Alone in its file: what another test had loaded would not be seen again.
it('what verifies tokens is loaded only where there are tokens', async () => {
  const loaded: string[] = [];
  const hooks = registerHooks({
    load: (url, context, next) => {
      loaded.push(url);
      return next(url, context);
    },
  });
  const limiter = new LogLimiter(1000);
  try {
    const { openAuthentication } = await import('../../src/server/authentication.js');
    const { log } = new LogLines();
    const open = (given: Partial<Record<OptionName, string>>) =>
      openAuthentication(resolveConfig(given, {}), log, limiter);
    expect(await open({})).toBeUndefined();
    expect(loaded.filter((url) => /node_modules\/jose/.test(url))).toEqual([]);
    const callers = await open({
      auth: 'jwt',
      'auth-issuer': 'i',
      'auth-service': 's',
      'auth-rootcertbundle': authority.certFile,
    });
    callers?.close();
    expect(loaded.some((url) => /node_modules\/jose/.test(url))).toBe(true);
  } finally {
    limiter.close();
    hooks.deregister();
  }
});
