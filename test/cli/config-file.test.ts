/** The configuration file: what it may say, what is wrong in it, and which value wins. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type ConfigFile, fileOptions, parseConfigFile } from '../../src/cli/config-file.js';
import { configSchema } from '../../src/cli/config-schema.js';
import { options } from '../../src/cli/option-schema.js';
import { repositoryName, writtenForm } from '../../src/cli/option-values.js';
import {
  environmentName,
  type OptionName,
  optionNames,
  resolveConfig,
  resolveOption,
} from '../../src/cli/options.js';

const root = join(import.meta.dirname, '..', '..');
const names = optionNames.filter((name) => name !== 'config');
const parse = (text: string, specs = fileOptions): ConfigFile =>
  parseConfigFile('layercache.yaml', Buffer.from(text), specs);
const problems = (text: string) => parse(text).problems.map(({ line, message }) => `${line}: ${message}`);

/** Texts that the option takes. */
function textsOf(name: OptionName): fc.Arbitrary<string> {
  const { schema } = options[name];
  const { choices, pattern } = writtenForm(schema);
  const free = () =>
    pattern === undefined
      ? fc.string({ minLength: 1, unit: 'grapheme' })
      : fc.stringMatching(new RegExp(pattern));
  return (choices === undefined ? free() : fc.constantFrom(...choices)).filter(
    (text) => text.isWellFormed() && schema.safeParse(text).success,
  );
}

const optionAndText = fc.constantFrom(...names).chain((name) => fc.tuple(fc.constant(name), textsOf(name)));

describe('whichever way a value is given', () => {
  it('it becomes the same', () => {
    fc.assert(
      fc.property(optionAndText, ([name, text]) => {
        const file = parse(stringify({ [name]: text }));
        expect(file.problems).toEqual([]);
        const given = resolveOption(name, text, {});
        expect(resolveOption(name, undefined, { [environmentName(name)]: text })).toEqual(given);
        expect(resolveOption(name, undefined, {}, file)).toEqual(given);
      }),
      { numRuns: 500 },
    );
  });

  it('the command line wins over the environment, that over the file, that over the default', () => {
    const texts = (name: OptionName) => fc.tuple(textsOf(name), textsOf(name), textsOf(name));
    const said = fc.tuple(fc.boolean(), fc.boolean(), fc.boolean());
    const cases = fc.constantFrom(...names).chain((name) => fc.tuple(fc.constant(name), texts(name), said));
    fc.assert(
      fc.property(cases, ([name, [line, variable, entry], [onLine, inEnvironment, inFile]]) => {
        const environment = inEnvironment ? { [environmentName(name)]: variable } : {};
        const file = inFile ? parse(stringify({ [name]: entry })) : parse('');
        const winner = onLine ? line : inEnvironment ? variable : inFile ? entry : undefined;
        expect(resolveOption(name, onLine ? line : undefined, environment, file)).toEqual(
          resolveOption(name, winner, {}),
        );
      }),
    );
  });

  it('a file of all options is all options', () => {
    const all = Object.fromEntries(names.map((name) => [name, options[name].default]));
    expect(resolveConfig({}, {}, parse(stringify(all)))).toEqual(resolveConfig({}, {}));
  });

  it('whole numbers need no quotes, and words of other YAMLs are words', () => {
    const file = parse('workers: 4\nmax-streams: 10\nrevalidate-after: 0\naccess-log: off\nreflection: on\n');
    expect(file.problems).toEqual([]);
    expect(resolveConfig({ cache: 'redis://h' }, {}, file)).toMatchObject({
      workers: 4,
      'max-streams': 10,
      'revalidate-after': 0,
      'access-log': 'off',
      reflection: 'on',
    });
  });

  it('an option that may be repeated takes a list', () => {
    const specs = {
      repository: { ...options.cache, schema: repositoryName(), repeatable: true as const },
      cache: options.cache,
    };
    const file = parse('repository: [library/app, team/service]\ncache: [memory:]\n', specs);
    expect(file.values.get('repository')).toEqual({ texts: ['library/app', 'team/service'], line: 1 });
    expect(parse('repository: library/app\n', specs).values.get('repository')?.texts).toEqual([
      'library/app',
    ]);
    expect(file.problems).toEqual([{ line: 2, message: 'cache must be one text or number' }]);
    expect(parse('repository:\n  - library/app\n  - No Name\n', specs).problems).toEqual([
      { line: 1, message: 'repository must be the name of a repository, such as library/alpine' },
    ]);
  });
});

describe('what is wrong is told by line and key', () => {
  it.each([
    ['colour: red', ['1: colour is no option of serve that a file may set']],
    ['config: other.yaml', ['1: config is no option of serve that a file may set']],
    ['# …\nverify: sometimes', ['2: verify must be one of first, always, off']],
    ['verify: off\n\nverify: off', ['3: verify is given twice, first in line 1']],
    ['access-log: true', ['1: access-log must be one of on, off']],
    ['auth-issuer: 5', ['1: auth-issuer must be a text: a number needs quotes there']],
    ['auth-issuer: true', ['1: auth-issuer must be a text']],
    ['cache: 5', ['1: cache must be a text: a number needs quotes there']],
    ['cache-timeout: 5', ['1: cache-timeout must be a text: a number needs quotes there']],
    ['workers: 0x10', ['1: workers must be a whole number from 1 to 256, or auto']],
    ['workers: 1.5', ['1: workers must be a whole number from 1 to 256, or auto']],
    ['tls-cert:', ['1: tls-cert has no value']],
    ['tls-cert: [a, b]', ['1: tls-cert must be one text or number']],
    ['limits:\n  max-streams: 5', ['1: limits is no option of serve that a file may set']],
    [
      'max-streams: &n 5\nmax-inflight: *n',
      ['2: max-inflight must be one text or number; a text that begins with * needs quotes'],
    ],
    ['- cache', ['1: must be options by name, such as cache: redis://127.0.0.1:6379']],
    ['memory', ['1: must be options by name, such as cache: redis://127.0.0.1:6379']],
    ['? [cache]\n: memory:', ['1: a key must be the name of an option']],
    [
      'verify: off\n---\nverify: off',
      [expect.stringMatching(/^\d: is no well-formed YAML: more than one document$/)],
    ],
    ['cache: "redis:', [expect.stringMatching(/^\d: is no well-formed YAML: missing closing/)]],
    ['cache: *hunter2', ['1: cache must be one text or number; a text that begins with * needs quotes']],
    ['cache: !hunter2 x', [expect.stringContaining('is no well-formed YAML: an unknown tag')]],
    [
      'a: 1\nverify: no\nmax-streams: many',
      [
        '1: a is no option of serve that a file may set',
        '2: verify must be one of first, always, off',
        '3: max-streams must be a whole number from 1 to 1000000',
      ],
    ],
  ] as const)('%j', (text, said) => expect(problems(text)).toEqual(said));

  it('bytes that are no UTF-8', () => {
    expect(parseConfigFile('f', Buffer.from([0x63, 0xff])).problems).toEqual([
      { line: 1, message: 'the file is not UTF-8' },
    ]);
  });

  it('whatever it is, in one line each and without its values', () => {
    const secret = 'hunter2-0123456789';
    const piece = fc.oneof(
      fc.constantFrom(
        ...names,
        ': ',
        '\n',
        '- ',
        '[',
        ']',
        '{',
        '}',
        '"',
        "'",
        '&',
        '*',
        '!',
        '|',
        '>',
        '?',
        '%',
        '@',
        '`',
        '#',
        ',',
        '\t',
        '  ',
        secret,
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        for (const line of problems(`${pieces.join('')}${secret}${pieces.reverse().join('')}`)) {
          expect(line).not.toContain(secret);
          expect(line).not.toContain('\n');
        }
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['brackets', '['.repeat(65_536)],
    ['open maps', '{a: '.repeat(16_384)],
    ['keys', Array.from({ length: 8_000 }, (_, index) => `k${index}:`).join('\n')],
    ['dashes', '- '.repeat(32_768)],
  ])('a file of nothing but %s', (_, text) => {
    expect(parse(text.slice(0, 65_536)).problems.length).toBeGreaterThan(0);
  });
});

describe('the JSON schema', () => {
  const ajv = new Ajv({ strict: true, allErrors: true });
  const accepts = ajv.compile(configSchema());

  it('is in the package as the command prints it, and the example names it', async () => {
    const published = JSON.parse(await readFile(join(root, 'dist', 'config.schema.json'), 'utf8'));
    expect(published).toEqual(configSchema());
    const example = await readFile(join(root, 'examples', 'layercache.yaml'), 'utf8');
    const [, named = ''] = /^# yaml-language-server: \$schema=(\S+)/.exec(example) ?? [];
    expect(join(root, 'examples', named)).toBe(join(root, 'dist', 'config.schema.json'));
  });

  it('takes the example, and so does the server', async () => {
    const bytes = await readFile(join(root, 'examples', 'layercache.yaml'));
    const { parse } = await import('yaml');
    expect(accepts(parse(bytes.toString()))).toBe(true);
    expect(parseConfigFile('example', bytes).problems).toEqual([]);
  });

  it('takes and refuses what the server does, but for the ranges of durations and sizes', () => {
    const free = fc.oneof(
      fc.string(),
      fc.integer({ min: -5, max: 2_000_000 }),
      fc.boolean(),
      fc.constant([]),
    );
    const entry = fc
      .constantFrom(...names)
      .chain((name) => fc.tuple(fc.constant<string>(name), fc.oneof(textsOf(name), free)));
    const unknown = fc.tuple(fc.stringMatching(/^[a-z-]{3,12}$/), free);
    fc.assert(
      fc.property(fc.oneof({ weight: 9, arbitrary: entry }, unknown), ([name, value]) => {
        const { problems } = parse(stringify({ [name]: value }));
        const isRange = /must be a (duration|size)/.test(problems[0]?.message ?? '');
        if (accepts({ [name]: value })) expect(isRange ? [] : semantic(problems)).toEqual([]);
        else expect(problems).toHaveLength(1);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    { verify: 'sometimes' },
    { colour: 'red' },
    { workers: 0 },
    { workers: 257 },
    { 'max-streams': 1.5 },
    { 'cache-timeout': 100 },
    { 'cache-timeout': '100' },
    { 'small-layers': '1GiB' },
    { listen: 'localhost' },
    { cache: 'redis' },
    { 'tls-cert': null },
    { 'access-log': true },
    { config: 'other.yaml' },
  ])('refuses %j', (file) => {
    expect(accepts(file)).toBe(false);
    expect(problems(stringify(file))).toHaveLength(1);
  });

  it('tells of each option what --help does', () => {
    const { properties } = configSchema() as { properties: Record<string, { description: string }> };
    expect(Object.keys(properties)).toEqual(names);
    for (const name of names) expect(properties[name]?.description).toBe(options[name].help);
  });
});

/** Without what a pattern cannot say: a port's range, a path's length or NUL, whether a URL is safe. */
function semantic(problems: ConfigFile['problems']): ConfigFile['problems'] {
  return problems.filter(({ message }) => !/must be (host:port|unix:|the path|a file, or)/.test(message));
}
