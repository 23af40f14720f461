/**
 * CPU profiles and heap snapshots of this process, written into a folder: one at
 * a time, the newest few kept. What makes them is loaded when one is asked for.
 */
import { access, constants, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { causeOf } from './error-text.js';

/** What is asked for. */
export type Diagnosis =
  /** The functions that the process spends its time in, for as long as that: 1 to `maxProfileSeconds`. */
  { readonly kind: 'cpu'; readonly seconds: number } | { readonly kind: 'heap' };

/** What came of it. */
export type DiagnosisResult =
  | { readonly file: string }
  /** @param busy whether another one is being made */
  | { readonly problem: string; readonly busy?: true };

export const maxProfileSeconds = 60;
/** What a signal asks for, which cannot say how long. */
export const profileOfSignal: Diagnosis = { kind: 'cpu', seconds: 10 };

/** Files of each process that are kept. */
const maxFiles = 5;
const endings = { cpu: 'cpuprofile', heap: 'heapsnapshot' } as const;

/** The folder cannot be written to; `message` is one line. */
export class DiagnosticsFolderError extends Error {
  override readonly name = 'DiagnosticsFolderError';
}

export class Diagnostics {
  readonly #folder: string;
  readonly #prefix: string;
  readonly #closing = new AbortController();
  #running: Promise<DiagnosisResult> | undefined;

  private constructor(folder: string, prefix: string) {
    this.#folder = folder;
    this.#prefix = prefix;
  }

  /** `name` tells the processes apart that write there. Rejects with a `DiagnosticsFolderError`. */
  static async open(folder: string, name: string): Promise<Diagnostics> {
    try {
      if (!(await stat(folder)).isDirectory()) throw new DiagnosticsFolderError(`${folder} is no directory`);
      await access(folder, constants.W_OK | constants.X_OK);
    } catch (error) {
      if (error instanceof DiagnosticsFolderError) throw error;
      const reason =
        codeOf(error) === 'ENOENT' ? 'does not exist' : `cannot be written to (${codeOf(error)})`;
      throw new DiagnosticsFolderError(`${folder} ${reason}`, { cause: error });
    }
    return new Diagnostics(folder, `layercache-${name}-`);
  }

  /** Writes one, with mode 0600. Never rejects. */
  async run(diagnosis: Diagnosis): Promise<DiagnosisResult> {
    if (this.#running !== undefined) return { problem: 'another one is being made', busy: true };
    this.#running = this.#write(diagnosis);
    try {
      return await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  /** Ends a running profile, which is written as far as it goes. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #write(diagnosis: Diagnosis): Promise<DiagnosisResult> {
    const moment = new Date().toISOString().replaceAll(/[-:.]/g, '');
    const file = join(this.#folder, `${this.#prefix}${moment}-${process.pid}.${endings[diagnosis.kind]}`);
    const part = `${file}.part`;
    try {
      await this.#deleteOldest();
      // A file that is there already, or a link, is left alone.
      const handle = await open(part, 'wx', 0o600);
      try {
        if (diagnosis.kind === 'cpu') await handle.writeFile(await this.#cpuProfile(diagnosis.seconds));
        else await handle.writeFile(await heapSnapshot());
      } finally {
        await handle.close();
      }
      await rename(part, file);
      return { file };
    } catch (error) {
      await rm(part, { force: true }).catch(() => {});
      return { problem: causeOf(error) };
    }
  }

  /** Makes room for one more. Their names are in the order of their age. */
  async #deleteOldest(): Promise<void> {
    const own = new RegExp(`^${this.#prefix}\\d{8}T\\d{9}Z-\\d+\\.(cpuprofile|heapsnapshot)(\\.part)?$`);
    const files = (await readdir(this.#folder)).filter((name) => own.test(name)).sort();
    for (const name of files.slice(0, Math.max(0, files.length - maxFiles + 1)))
      await rm(join(this.#folder, name), { force: true });
  }

  async #cpuProfile(seconds: number): Promise<string> {
    const { Session } = await import('node:inspector/promises');
    const session = new Session();
    session.connect();
    try {
      await session.post('Profiler.enable');
      await session.post('Profiler.start');
      await sleep(seconds * 1000, undefined, { signal: this.#closing.signal }).catch(() => {});
      const { profile } = await session.post('Profiler.stop');
      return JSON.stringify(profile);
    } finally {
      session.disconnect();
    }
  }
}

/** In pieces: as one text it would need as much memory again. */
async function heapSnapshot(): Promise<AsyncIterable<Uint8Array>> {
  const { getHeapSnapshot } = await import('node:v8');
  return getHeapSnapshot();
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}
