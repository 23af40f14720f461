/** What the examiner's thread is told and answer. */
import type { Examined } from '../maintenance/examiner.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { FileDriverOptions } from '../storage/file/file-driver.js';

export interface ThreadData {
  readonly storage: FileDriverOptions;
  /** An `Int32Array` of one: changes with each call to the file system. */
  readonly alive: SharedArrayBuffer;
}

export interface Question {
  readonly id: number;
  /** `undefined` asks for the blobs themselves. */
  readonly repository: RepositoryName | undefined;
  readonly digests: readonly Digest[];
}

export type Answer =
  | {
      readonly id: number;
      /** Of the digests in their order, where nothing else is said. */
      readonly lengths: Float64Array;
      /** By index: faults, and layers whose canonical digest is another. */
      readonly exceptions: readonly (readonly [index: number, examined: Examined])[];
      readonly failure?: undefined;
    }
  /** The storage failed, or the code did (`isDefect`). */
  | { readonly id: number; readonly failure: { readonly message: string; readonly isDefect: boolean } };
