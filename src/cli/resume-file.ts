/** The file that says where an interrupted `warm` goes on. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import { ConfigError } from './options.js';

const content = z.object({
  /** What was walked into what: another walk cannot go on from here. */
  storage: z.string(),
  cache: z.string(),
  after: z.string(),
});

/** Milliseconds between two writes of the file. */
const writeIntervalMs = 1000;

export class ResumeFile {
  readonly #path: string;
  readonly #subject: { readonly storage: string; readonly cache: string };
  #written: RepositoryName | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, subject: { readonly storage: string; readonly cache: string }) {
    this.#path = path;
    this.#subject = subject;
  }

  /** Reads the file; one that is not there yet begins at the beginning. Throws `ConfigError`. */
  static async open(
    path: string,
    subject: { readonly storage: string; readonly cache: string },
  ): Promise<{ readonly file: ResumeFile; readonly after: RepositoryName | undefined }> {
    const file = new ResumeFile(path, subject);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
        return { file, after: undefined };
      throw new ConfigError(`--resume: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
    const parsed = content.safeParse(parseJson(text));
    const after = parsed.success ? parseRepositoryName(parsed.data.after) : undefined;
    if (!parsed.success || after === undefined)
      throw new ConfigError(`--resume: ${path} is no file that warm has written`);
    if (parsed.data.storage !== subject.storage || parsed.data.cache !== subject.cache)
      throw new ConfigError(`--resume: ${path} is of another storage or another cache`);
    file.#written = after;
    return { file, after };
  }

  /** Writes the file now and then, until `end`. A failed write is told and tried again. */
  follow(after: () => RepositoryName | undefined, onError: (error: unknown) => void): void {
    this.#timer = setInterval(() => {
      this.#writing = this.#write(after()).catch(onError);
    }, writeIntervalMs).unref();
  }

  /** The walk was interrupted: writes where it goes on. */
  async keep(after: RepositoryName | undefined): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    await this.#write(after);
  }

  /** The walk is done: the next one begins at the beginning. */
  async remove(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    await rm(this.#path, { force: true });
  }

  async #write(after: RepositoryName | undefined): Promise<void> {
    if (after === undefined || after === this.#written) return;
    this.#written = after;
    const beside = `${this.#path}.tmp`;
    await writeFile(beside, `${JSON.stringify({ ...this.#subject, after })}\n`);
    await rename(beside, this.#path);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
