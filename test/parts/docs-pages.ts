/** The pages that users read, and what is in them. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..', '..');

/** A fenced block of a page. */
export interface Block {
  readonly language: string;
  readonly text: string;
}

export interface Page {
  /** Its path from the root, with slashes. */
  readonly name: string;
  readonly text: string;
  readonly blocks: readonly Block[];
}

/** README.md, the guides beside it and all of docs/. */
export async function readPages(): Promise<Page[]> {
  const docs = (await readdir(join(root, 'docs'))).filter((name) => name.endsWith('.md'));
  const names = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...docs.map((name) => `docs/${name}`)];
  return Promise.all(names.map(readPage));
}

export async function readPage(name: string): Promise<Page> {
  const text = await readFile(join(root, name), 'utf8');
  const fenced = text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm);
  return { name, text, blocks: Array.from(fenced, ([, language = '', text = '']) => ({ language, text })) };
}

/** The block of that language that holds `word`. */
export function block(page: Page, language: string, word: string): string {
  const found = page.blocks.find((block) => block.language === language && block.text.includes(word));
  if (found === undefined) throw new Error(`${page.name} has no ${language} block with ${word}`);
  return found.text;
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchors({ text }: Page): ReadonlySet<string> {
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '');
  return new Set(
    Array.from(prose.matchAll(/^#+ (.+)$/gm), ([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
