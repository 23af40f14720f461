/**
 * The grammars written a second time: letter by letter, without the product's expressions,
 * so that the two can be compared.
 */

const hexLengths = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);

export function isDigest(text: string): boolean {
  const colon = text.indexOf(':');
  const hex = text.slice(colon + 1);
  return (
    colon > 0 && hex.length === hexLengths.get(text.slice(0, colon)) && consistsOf(hex, '0123456789abcdef')
  );
}

const alphanumerics = 'abcdefghijklmnopqrstuvwxyz0123456789';

export function isRepository(text: string): boolean {
  return text.length <= 255 && text.split('/').every(isComponent);
}

function isComponent(text: string): boolean {
  let separator = '';
  let sawName = false;
  for (const letter of text) {
    if (alphanumerics.includes(letter)) {
      if (separator !== '' && !(sawName && isSeparator(separator))) return false;
      separator = '';
      sawName = true;
    } else {
      separator += letter;
    }
  }
  return sawName && separator === '';
}

function isSeparator(text: string): boolean {
  return text === '.' || text === '_' || text === '__' || consistsOf(text, '-');
}

export function isStoragePath(text: string): boolean {
  const [root, ...names] = text.split('/');
  const letters = `${alphanumerics}ABCDEFGHIJKLMNOPQRSTUVWXYZ._-`;
  const isName = (name: string) => name !== '' && name !== '.' && name !== '..' && consistsOf(name, letters);
  return root === '' && names.length > 0 && names.every(isName);
}

function consistsOf(text: string, letters: string): boolean {
  for (const letter of text) {
    if (!letters.includes(letter)) return false;
  }
  return true;
}
