import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { options } from '../../src/cli/option-schema.js';
import { formatAddress } from '../../src/cli/option-values.js';
import {
  ConfigError,
  environmentName,
  type OptionName,
  optionNames,
  resolveConfig,
  resolveOption,
} from '../../src/cli/options.js';

function problem(name: OptionName, given: string | undefined, environment: NodeJS.ProcessEnv = {}): string {
  try {
    resolveOption(name, given, environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

describe('defaults', () => {
  it('are what the documentation says', () => {
    expect(resolveConfig({}, {})).toEqual({
      cache: 'memory:',
      storage: 'file:///var/lib/registry',
      listen: { host: '127.0.0.1', port: 50051 },
      transport: 'direct',
      admin: { host: '127.0.0.1', port: 9464 },
      workers: 1,
      'tls-cert': undefined,
      'tls-key': undefined,
      'tls-client-ca': undefined,
      auth: 'none',
      'auth-issuer': undefined,
      'auth-service': undefined,
      'auth-rootcertbundle': undefined,
      'auth-jwks': undefined,
      'auth-policy': undefined,
      reflection: 'on',
      'cache-timeout': 100,
      'storage-timeout': 10_000,
      'revalidate-after': 600_000,
      'stall-timeout': 60_000,
      'drain-timeout': 30_000,
      'max-inflight': 1000,
      'max-streams': 1000,
      'max-connection-streams': 250,
      'max-connections': 4000,
      'chunk-size': 2_097_152,
      verify: 'first',
      'small-layers': 16_777_216,
      'log-level': 'info',
      'access-log': 'on',
      'diagnostics-dir': undefined,
      'admin-token-file': undefined,
      config: undefined,
    });
  });

  it('pass the validation that given values pass', () => {
    for (const name of optionNames) expect(problem(name, options[name].default)).toBe('');
  });
});

describe('where a value comes from', () => {
  it('the command line wins over the environment, and the environment over the default', () => {
    const environment = { LAYERCACHE_CACHE_TIMEOUT: '2s' };
    expect(resolveOption('cache-timeout', '1s', environment)).toBe(1000);
    expect(resolveOption('cache-timeout', undefined, environment)).toBe(2000);
    expect(resolveOption('cache-timeout', undefined, {})).toBe(100);
  });

  it('an empty variable says nothing, as orchestrators pass it for an unset one', () => {
    expect(resolveOption('verify', undefined, { LAYERCACHE_VERIFY: '' })).toBe('first');
  });

  it('an empty value on the command line is a mistake', () => {
    expect(problem('verify', '')).toBe('--verify must be one of first, always, off');
  });

  it('a bad value from the environment names its variable', () => {
    expect(problem('drain-timeout', undefined, { LAYERCACHE_DRAIN_TIMEOUT: 'soon' })).toBe(
      '--drain-timeout (from LAYERCACHE_DRAIN_TIMEOUT) must be a duration such as 250ms, 5s or 2m, from 0ms to 24h',
    );
  });

  it('every option has a variable of its own', () => {
    expect(environmentName('storage-timeout')).toBe('LAYERCACHE_STORAGE_TIMEOUT');
    expect(new Set(optionNames.map(environmentName)).size).toBe(optionNames.length);
  });
});

describe('durations', () => {
  it.each([
    ['1ms', 1],
    ['250ms', 250],
    ['5s', 5000],
    ['2m', 120_000],
    ['24h', 86_400_000],
  ])('%s is %i ms', (text, milliseconds) => {
    expect(resolveOption('storage-timeout', text, {})).toBe(milliseconds);
  });

  it.each([
    '0s',
    '5',
    's',
    '-5s',
    '1.5s',
    '5 s',
    '5S',
    '5s ',
    '5s\n',
    '1d',
    '25h',
    '1e3ms',
    '99999999999999ms',
    '5constructor',
  ])('%j is not one', (text) => {
    expect(problem('storage-timeout', text)).toMatch(/^--storage-timeout must be a duration/);
  });

  it('0 needs no unit where nothing is allowed', () => {
    expect(resolveOption('revalidate-after', '0', {})).toBe(0);
    expect(problem('storage-timeout', '0')).toMatch(/must be a duration/);
  });

  it('nothing to wait for is allowed where draining may be skipped', () => {
    expect(resolveOption('drain-timeout', '0s', {})).toBe(0);
  });
});

describe('sizes', () => {
  it.each([
    ['4KiB', 4096],
    ['4096B', 4096],
    ['256KiB', 262_144],
    ['2MiB', 2_097_152],
  ])('%s is %i bytes', (text, bytes) => {
    expect(resolveOption('chunk-size', text, {})).toBe(bytes);
  });

  it.each([
    ['1', 1],
    ['1000000', 1_000_000],
  ])('%s is that many', (text, count) => {
    expect(resolveOption('max-streams', text, {})).toBe(count);
  });

  it.each(['0', '-1', '1.5', '1e3', '01', 'many', '1000001', '99999999999'])(
    '%j is no number of streams',
    (text) => {
      expect(problem('max-streams', text)).toBe('--max-streams must be a whole number from 1 to 1000000');
    },
  );

  it.each(['0', '4095B', '3KiB', '3MiB', '256kb', '256K', '256', '-4KiB', '1GiB'])(
    '%j is not one',
    (text) => {
      expect(problem('chunk-size', text)).toBe(
        '--chunk-size must be a size such as 256KiB, from 4KiB to 2MiB',
      );
    },
  );
});

describe('addresses', () => {
  it.each([
    ['127.0.0.1:0', '127.0.0.1', 0],
    ['0.0.0.0:65535', '0.0.0.0', 65_535],
    ['[::1]:50051', '::1', 50_051],
    ['layer-cache.internal:1', 'layer-cache.internal', 1],
  ])('%s', (text, host, port) => {
    const address = resolveOption('listen', text, {});
    expect(address).toEqual({ host, port });
    expect(formatAddress(address)).toBe(text);
  });

  it.each([
    '',
    'localhost',
    ':50051',
    'localhost:',
    '::1:50051',
    'localhost:65536',
    'localhost:-1',
    'http://localhost:1',
    'a b:1',
    'localhost:0x1',
    'localhost:1\n',
  ])('%j is not one', (text) => {
    expect(problem('listen', text)).toMatch(/^--listen must be host:port/);
  });
});

describe('words and URLs', () => {
  it.each([
    ['verify', 'First'],
    ['verify', 'never'],
    ['log-level', 'verbose'],
    ['access-log', 'true'],
  ] as const)('--%s is not %s', (name, text) => {
    expect(problem(name, text)).toMatch(new RegExp(`^--${name} must be one of `));
  });

  it.each(['/var/lib/registry', 'redis', '', ' memory:', '//host'])('%j is no URL', (text) => {
    expect(problem('storage', text)).toMatch(/^--storage must be a URL/);
  });
});

describe('a key set', () => {
  it.each(['/etc/jwks.json', 'https://issuer/jwks', 'http://localhost:1/jwks', 'http://[::1]/jwks'])(
    'may be %s',
    (given) => expect(resolveOption('auth-jwks', given, {})).toBe(given),
  );

  it.each(['http://issuer/jwks', 'https://user:hunter2@issuer/jwks', 'http://127.0.0.1.evil/', 'https://'])(
    'may not be %s',
    (given) =>
      expect(problem('auth-jwks', given)).toMatch(/^--auth-jwks must be a file, or a URL with https:/),
  );
});

describe('options that do not go together', () => {
  it.each([
    [{ 'tls-cert': '/c' }, '--tls-cert needs --tls-key'],
    [{ 'tls-key': '/k' }, '--tls-key needs --tls-cert'],
    [{ 'tls-client-ca': '/a' }, '--tls-client-ca needs --tls-cert'],
    [
      { workers: '2' },
      '--workers 2 needs a --cache that all workers share, such as redis://…; with memory: a Remove would reach one of them only',
    ],
    [{ auth: 'jwt' }, '--auth jwt needs --auth-rootcertbundle or --auth-jwks'],
    [{ auth: 'jwt', 'auth-jwks': '/k' }, '--auth jwt needs --auth-issuer'],
    [{ auth: 'jwt', 'auth-rootcertbundle': '/r', 'auth-issuer': 'i' }, '--auth jwt needs --auth-service'],
    [{ auth: 'mtls', 'auth-policy': '/p' }, '--auth mtls needs --tls-client-ca'],
    [
      { auth: 'mtls', 'tls-cert': '/c', 'tls-key': '/k', 'tls-client-ca': '/a' },
      '--auth mtls needs --auth-policy',
    ],
    [{ 'admin-token-file': '/t' }, '--admin-token-file needs --diagnostics-dir'],
    [{ 'admin-token-file': '/t', 'diagnostics-dir': '/d', admin: 'off' }, '--admin-token-file needs --admin'],
    // An operator who sets it expects authentication.
    [{ 'auth-jwks': '/k' }, '--auth-jwks needs --auth jwt'],
    [{ 'auth-policy': '/p' }, '--auth-policy needs --auth mtls'],
  ] as const)('%j: %s', (given, message) => {
    expect(() => resolveConfig(given, {})).toThrow(new ConfigError(message));
  });
});

describe('whatever is given', () => {
  it('is a value or one line that does not repeat it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...optionNames), fc.string({ minLength: 12 }), (name, text) => {
        const message = problem(name, text);
        expect(message).not.toContain('\n');
        expect(message).not.toContain(text);
      }),
    );
  });
});
