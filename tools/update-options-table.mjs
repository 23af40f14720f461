// Writes the options table of README.md from the schema that the server reads.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const { optionsTable } = await import(join(root, 'dist', 'cli', 'options.js'));

const readme = join(root, 'README.md');
const text = readFileSync(readme, 'utf8');
const marked = /(<!-- options -->\n)[\s\S]*(<!-- \/options -->)/;
if (!marked.test(text)) throw new Error('README.md has no <!-- options --> … <!-- /options -->');
writeFileSync(
  readme,
  text.replace(marked, (_, begin, end) => `${begin}${optionsTable()}\n${end}`),
);
