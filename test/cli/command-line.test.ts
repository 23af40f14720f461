import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../../src/cli/command-line.js';
import { options } from '../../src/cli/option-schema.js';
import { environmentName, optionNames } from '../../src/cli/options.js';

const parse = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
  parseCommandLine(args, environment, '1.2.3');

async function refused(args: string[], environment: NodeJS.ProcessEnv = {}): Promise<string> {
  const invocation = await parse(args, environment);
  if (invocation.command !== 'none') throw new Error(`parsed as ${invocation.command}`);
  expect(invocation.code).toBe(2);
  expect(invocation.text.trimEnd()).not.toContain('\n');
  return invocation.text;
}

describe('serve', () => {
  it('is what happens when no command is named', async () => {
    expect(await parse([])).toEqual(await parse(['serve']));
    expect(await parse([])).toMatchObject({ command: 'serve', config: { cache: 'memory:' } });
  });

  it.each([
    [['--storage=file:///a', '--chunk-size=64KiB']],
    [['--storage', 'file:///a', '--chunk-size', '64KiB']],
    [['serve', '--storage', 'file:///a', '--chunk-size=64KiB']],
  ])('takes --name=value and --name value alike: %j', async (args) => {
    expect(await parse(args)).toMatchObject({
      command: 'serve',
      config: { storage: 'file:///a', 'chunk-size': 65_536 },
    });
  });

  it('reads every option from the command line and from the environment', async () => {
    const values = {
      cache: 'redis://h',
      storage: 'file:///a',
      listen: 'h:1',
      transport: 'grpc-js',
      admin: 'h:2',
      notifications: 'h:3',
      'notifications-token-file': '/token',
      workers: '12',
      'tls-cert': '/c.pem',
      'tls-key': '/k.pem',
      'tls-client-ca': '/a.pem',
      auth: 'mtls',
      'auth-issuer': 'i',
      'auth-service': 's',
      'auth-rootcertbundle': '/r.pem',
      'auth-jwks': 'https://h/jwks',
      'auth-policy': '/p.json',
      reflection: 'off',
      'cache-timeout': '3ms',
      'storage-timeout': '4ms',
      'revalidate-after': '8h',
      'stall-timeout': '5ms',
      'drain-timeout': '6ms',
      'max-inflight': '8',
      'max-streams': '9',
      'max-connection-streams': '10',
      'max-connections': '11',
      'chunk-size': '7KiB',
      verify: 'off',
      'small-layers': '12KiB',
      'log-level': 'fatal',
      'access-log': 'off',
      'diagnostics-dir': '/d',
      'admin-token-file': '/t',
    };
    const expected = {
      command: 'serve',
      config: {
        cache: 'redis://h',
        storage: 'file:///a',
        listen: { host: 'h', port: 1 },
        transport: 'grpc-js',
        admin: { host: 'h', port: 2 },
        notifications: { host: 'h', port: 3 },
        'notifications-token-file': '/token',
        workers: 12,
        'tls-cert': '/c.pem',
        'tls-key': '/k.pem',
        'tls-client-ca': '/a.pem',
        auth: 'mtls',
        'auth-issuer': 'i',
        'auth-service': 's',
        'auth-rootcertbundle': '/r.pem',
        'auth-jwks': 'https://h/jwks',
        'auth-policy': '/p.json',
        reflection: 'off',
        'cache-timeout': 3,
        'storage-timeout': 4,
        'revalidate-after': 28_800_000,
        'stall-timeout': 5,
        'drain-timeout': 6,
        'max-inflight': 8,
        'max-streams': 9,
        'max-connection-streams': 10,
        'max-connections': 11,
        'chunk-size': 7168,
        verify: 'off',
        'small-layers': 12_288,
        'log-level': 'fatal',
        'access-log': 'off',
        'diagnostics-dir': '/d',
        'admin-token-file': '/t',
        config: undefined,
      },
    };
    // What --config reads is in config.test.ts.
    const names = optionNames.filter((name) => name !== 'config');
    expect(Object.keys(values).sort()).toEqual([...names].sort());
    expect(await parse(names.map((name) => `--${name}=${values[name]}`))).toEqual(expected);
    const environment = Object.fromEntries(names.map((name) => [environmentName(name), values[name]]));
    expect(await parse([], environment)).toEqual(expected);
  });

  it('the last of an option given twice counts', async () => {
    expect(await parse(['--verify=off', '--verify=always'])).toMatchObject({ config: { verify: 'always' } });
  });
});

describe('health', () => {
  it('asks the address that --admin or its variable names', async () => {
    const admin = { host: 'h', port: 1 };
    expect(await parse(['health', '--admin', 'h:1'])).toEqual({ command: 'health', admin });
    expect(await parse(['health'], { LAYERCACHE_ADMIN: 'h:1' })).toEqual({ command: 'health', admin });
  });

  it('does not mind other options being wrong in the environment', async () => {
    expect(await parse(['health'], { LAYERCACHE_VERIFY: 'no' })).toMatchObject({ command: 'health' });
  });

  it('takes no option of serve', async () => {
    expect(await refused(['health', '--storage=file:///a'])).toContain("unknown option '--storage'");
  });
});

describe('mistakes are one line and exit code 2', () => {
  it.each([
    [['--verify=no'], '--verify must be one of first, always, off'],
    [['--colour'], "unknown option '--colour'"],
    [['--verify'], '--verify'],
    [['serve', 'twice'], 'too many arguments'],
    [['destroy'], 'too many arguments'],
    [['-x'], "unknown option '-x'"],
  ])('%j', async (args, text) => {
    expect(await refused(args)).toContain(text);
  });

  it('a secret behind a mistyped option does not get into the log', async () => {
    expect(await refused(['--chace=redis://user:hunter2@h'])).not.toContain('hunter2');
  });

  it('a secret in a value of an option is not repeated', async () => {
    expect(await refused(['--cache', '//user:hunter2@h'])).not.toContain('hunter2');
    expect(await refused([], { LAYERCACHE_STORAGE: '//hunter2' })).not.toContain('hunter2');
  });
});

describe('--help', () => {
  it('is grouped by what the options are about', async () => {
    const invocation = await parse(['serve', '--help']);
    if (invocation.command !== 'none') throw new Error('it runs something');
    const headings = [...invocation.text.matchAll(/^([A-Z].*):$/gm)].map(([, heading]) => heading);
    expect(headings).toEqual(
      expect.arrayContaining([...new Set(optionNames.map((name) => options[name].group))]),
    );
  });

  it.each([[['--help']], [['serve', '--help']], [['-h']]])('%j tells of every option', async (args) => {
    const invocation = await parse(args);
    if (invocation.command !== 'none') throw new Error('nothing was told');
    expect(invocation.code).toBe(0);
    const words = invocation.text.replace(/\s+/g, ' ');
    for (const name of optionNames) {
      const { placeholder, help, default: fallback } = options[name];
      expect(words).toContain(`--${name} <${placeholder}>`);
      const otherwise = fallback === '' ? '' : `default: ${fallback}, `;
      expect(words).toContain(`${help} (${otherwise}env: ${environmentName(name)})`);
    }
  });

  it('tells of the commands', async () => {
    const invocation = await parse(['--help']);
    expect(invocation).toMatchObject({ text: expect.stringMatching(/serve[\s\S]*health/) });
  });
});

it('--version tells the version alone', async () => {
  expect(await parse(['--version'])).toEqual({ command: 'none', code: 0, text: '1.2.3\n' });
});
