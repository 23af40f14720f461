/** Encodes header blocks (RFC 7541, 6) with a dynamic table, so that an answer's headers are a few bytes after the first. */
import { DynamicTable, entryOverhead } from './dynamic-table.js';
import { encodeHuffman, huffmanLength } from './huffman.js';
import { staticTable } from './static-table.js';

/** The largest table that we keep for a peer that allows more. */
const largestTable = 4096;

/** Fields whose values differ from answer to answer: in the table they would only displace the others. */
const neverIndexed = new Set(['grpc-message', 'grpc-status-details-bin', 'content-length', 'date']);

const staticNames = new Map<string, number>();
const staticFields = new Map<string, number>();
for (const [at, [name, value]] of staticTable.entries()) {
  if (!staticNames.has(name)) staticNames.set(name, at + 1);
  staticFields.set(`${name}\0${value}`, at + 1);
}

interface Encoded {
  readonly block: Buffer;
  /** Which state of the table it was encoded for. */
  readonly inserted: number;
  readonly maxBytes: number;
}

export class HpackEncoder {
  readonly #table = new DynamicTable(largestTable);
  /** The insertion's number by field and by name, of those that are in the table. */
  readonly #fields = new Map<string, number>();
  /** Blocks by their list, valid while the table is what it was. */
  #known = new WeakMap<readonly string[], Encoded>();
  /** Sizes that the peer has to be told before the next field; the smallest first (RFC 7541, 4.2). */
  #updates: number[] = [];
  #out = Buffer.allocUnsafe(512);
  #at = 0;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setMaxTableBytes(bytes: number): void {
    const size = Math.min(bytes, largestTable);
    const smallest = Math.min(size, ...this.#updates);
    this.#updates = smallest < size ? [smallest, size] : [size];
    this.#table.resize(smallest);
    this.#table.resize(size);
    this.#forgetEvicted();
  }

  /**
   * The block for these names and values in turn, of characters below 256. The
   * same list again is a look-up while the table is unchanged; the block must
   * not be written to.
   */
  encode(fields: readonly string[]): Buffer {
    const table = this.#table;
    const known = this.#known.get(fields);
    if (
      known !== undefined &&
      known.inserted === table.inserted &&
      known.maxBytes === table.maxBytes &&
      this.#updates.length === 0
    ) {
      return known.block;
    }
    this.#at = 0;
    for (const size of this.#updates) this.#integer(0x20, 5, size);
    const hadUpdates = this.#updates.length > 0;
    this.#updates = [];
    const before = table.inserted;
    for (let at = 0; at < fields.length; at += 2) this.#field(fields[at] as string, fields[at + 1] as string);
    const block = Buffer.from(this.#out.subarray(0, this.#at));
    // A block that inserts is sent once; the next one refers to what it inserted.
    if (!hadUpdates && table.inserted === before) {
      this.#known.set(fields, { block, inserted: before, maxBytes: table.maxBytes });
    }
    return block;
  }

  #field(name: string, value: string): void {
    const key = `${name}\0${value}`;
    const index = staticFields.get(key) ?? this.#dynamicIndex(key);
    if (index !== undefined) {
      this.#integer(0x80, 7, index);
      return;
    }
    const fits = name.length + value.length + entryOverhead <= this.#table.maxBytes;
    const isKept = fits && !neverIndexed.has(name);
    const nameIndex = staticNames.get(name) ?? 0;
    if (isKept) this.#integer(0x40, 6, nameIndex);
    else this.#integer(0, 4, nameIndex);
    if (nameIndex === 0) this.#string(name);
    this.#string(value);
    if (isKept) {
      this.#table.insert(name, value);
      this.#fields.set(key, this.#table.inserted);
      this.#forgetEvicted();
    }
  }

  #dynamicIndex(key: string): number | undefined {
    const inserted = this.#fields.get(key);
    return inserted === undefined ? undefined : staticTable.length + 1 + this.#table.inserted - inserted;
  }

  /** Insertions are numbered in order, and the oldest are evicted first. */
  #forgetEvicted(): void {
    const oldest = this.#table.inserted - this.#table.count;
    for (const [key, inserted] of this.#fields) {
      if (inserted > oldest) return;
      this.#fields.delete(key);
    }
  }

  #integer(pattern: number, prefixBits: number, value: number): void {
    this.#reserve(8);
    const mask = (1 << prefixBits) - 1;
    if (value < mask) {
      this.#out[this.#at++] = pattern | value;
      return;
    }
    this.#out[this.#at++] = pattern | mask;
    let rest = value - mask;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#out[this.#at++] = (rest % 128) | 0x80;
    this.#out[this.#at++] = rest;
  }

  #string(text: string): void {
    const coded = huffmanLength(text);
    if (coded < text.length) {
      this.#integer(0x80, 7, coded);
      this.#reserve(coded);
      this.#at = encodeHuffman(text, this.#out, this.#at);
    } else {
      this.#integer(0, 7, text.length);
      this.#reserve(text.length);
      this.#at += this.#out.write(text, this.#at, 'latin1');
    }
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#out.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#out.length * 2, this.#at + bytes));
    this.#out.copy(larger, 0, 0, this.#at);
    this.#out = larger;
  }
}
