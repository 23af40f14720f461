/** Inputs of hostile or broken clients: valid values with a little damage, and random ones. */
import fc from 'fast-check';

const hexOf = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });

export const digests = fc.oneof(
  hexOf(64).map((hex) => `sha256:${hex}`),
  hexOf(96).map((hex) => `sha384:${hex}`),
  hexOf(128).map((hex) => `sha512:${hex}`),
);

const word = fc.string({ unit: fc.constantFrom(...'abz019'), minLength: 1, maxLength: 12 });
const separator = fc.constantFrom('.', '_', '__', '-', '---', '/', '/');

export const repositories = fc
  .tuple(word, fc.array(fc.tuple(separator, word), { maxLength: 12 }))
  .map(([first, rest]) => first + rest.flat().join(''));

const rubbish = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ unit: fc.constantFrom(...'aA0._-/:\n\0% é'), maxLength: 300 }),
);

/** One edit: what goes, and what comes in its place. */
const textEdit = fc.record({
  at: fc.nat(400),
  cut: fc.nat(2),
  put: fc.constantFrom(
    '',
    '\n',
    '\0',
    '/',
    '..',
    '.',
    '_',
    '___',
    '-',
    ':',
    'A',
    'g',
    '0',
    ' ',
    '%2f',
    'é',
    '\ud800',
  ),
});

/** Such a text with a few edits, and now and then none or something else altogether. */
export function nearly(valid: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const edited = fc.tuple(valid, fc.array(textEdit, { maxLength: 3 })).map(([text, edits]) =>
    edits.reduce((now, { at, cut, put }) => {
      const place = at % (now.length + 1);
      return now.slice(0, place) + put + now.slice(place + cut);
    }, text),
  );
  return fc.oneof({ weight: 5, arbitrary: edited }, { weight: 1, arbitrary: rubbish });
}

const byteEdit = fc.record({
  at: fc.nat(),
  cut: fc.nat(3),
  put: fc.uint8Array({ maxLength: 3 }),
});

/** The same for bytes. */
export function nearlyBytes(valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Buffer> {
  const edited = fc.tuple(valid, fc.array(byteEdit, { maxLength: 3 })).map(([bytes, edits]) =>
    edits.reduce((now, { at, cut, put }) => {
      const place = at % (now.length + 1);
      return Buffer.concat([now.subarray(0, place), put, now.subarray(place + cut)]);
    }, Buffer.from(bytes)),
  );
  const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
  return fc.oneof({ weight: 5, arbitrary: edited }, { weight: 1, arbitrary: bytes });
}
