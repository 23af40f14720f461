/** Types of `memory-driver.mjs` for the tests that put files there. */
import type { StorageDriver } from '../../src/storage/storage-driver.js';

export interface MemoryStore {
  put(path: string, bytes: Uint8Array): void;
  remove(path: string): void;
  /** Forgets the store and its files. */
  drop(): void;
}

export function memoryStore(name: string): MemoryStore;
export default function open(parameters: URLSearchParams): StorageDriver;
