/** Decodes header blocks (RFC 7541, 3 and 6). */
import { DynamicTable, entryOverhead } from './dynamic-table.js';
import { HpackError } from './errors.js';
import { decodeHuffman, longestDecoded } from './huffman.js';
import { staticTable } from './static-table.js';

/** A decoded header list. The same block in the same state of the table gives the same object. */
export interface HeaderList {
  /** Names and values in turn, one character a byte. */
  readonly fields: readonly string[];
  /** It was longer than the limit; `fields` holds what came before. */
  readonly isTooLong: boolean;
  /** Kept with the list by whoever uses it, so that it is made once. */
  derived: unknown;
}

export interface DecoderLimits {
  /** The dynamic table's largest size, as SETTINGS_HEADER_TABLE_SIZE announced it. */
  readonly maxTableBytes: number;
  /** The longest list, each field counted as RFC 9113, 6.5.2 counts it. */
  readonly maxHeaderListBytes: number;
}

/** Lists that are remembered by their block, and the longest such block. */
const maxRemembered = 64;
const longestRemembered = 512;

/** A size or length beyond this is refused (RFC 7541, 5.1). */
const largestInteger = 2 ** 28;

export class HpackDecoder {
  readonly #limits: DecoderLimits;
  readonly #table: DynamicTable;
  /** By their bytes: blocks that left the table as it is, and still would. */
  readonly #remembered = new Map<string, HeaderList>();
  /** Where decoded strings are put together; grows as far as a block needs. */
  #scratch = Buffer.allocUnsafe(256);
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;

  constructor(limits: DecoderLimits) {
    this.#limits = limits;
    this.#table = new DynamicTable(limits.maxTableBytes);
  }

  /** Decodes a whole block. Throws an `HpackError`; then the connection cannot go on. */
  decode(block: Buffer): HeaderList {
    const isShort = block.length <= longestRemembered;
    const key = isShort ? block.toString('latin1') : '';
    const known = isShort ? this.#remembered.get(key) : undefined;
    if (known !== undefined) return known;
    this.#block = block;
    this.#at = 0;
    this.#end = block.length;
    const before = this.#table.inserted;
    const hadUpdate = this.#takeSizeUpdates();
    const list = this.#takeFields();
    if (hadUpdate || this.#table.inserted !== before) this.#remembered.clear();
    else if (isShort) this.#remember(key, list);
    return list;
  }

  #remember(key: string, list: HeaderList): void {
    if (this.#remembered.size >= maxRemembered) this.#remembered.clear();
    this.#remembered.set(key, list);
  }

  /** Size updates stand before the first field only, and there are two at most (RFC 7541, 4.2). */
  #takeSizeUpdates(): boolean {
    let count = 0;
    while (this.#at < this.#end && ((this.#block[this.#at] as number) & 0xe0) === 0x20) {
      const size = this.#integer(5);
      if (size > this.#limits.maxTableBytes)
        throw new HpackError('a table size update exceeds the announced size');
      if (++count > 2) throw new HpackError('a block begins with more than two table size updates');
      this.#table.resize(size);
    }
    return count > 0;
  }

  #takeFields(): HeaderList {
    const fields: string[] = [];
    let bytes = 0;
    let isTooLong = false;
    while (this.#at < this.#end) {
      const first = this.#block[this.#at] as number;
      let name: string;
      let value: string;
      if (first >= 0x80) {
        // An indexed field (RFC 7541, 6.1).
        const index = this.#integer(7);
        name = this.#nameOf(index);
        value = this.#valueOf(index);
      } else {
        // A literal field (RFC 7541, 6.2); a size update has its place before all fields.
        if ((first & 0xe0) === 0x20) throw new HpackError('a table size update after a field');
        const isIndexed = first >= 0x40;
        const index = this.#integer(isIndexed ? 6 : 4);
        name = index === 0 ? this.#string() : this.#nameOf(index);
        value = this.#string();
        if (isIndexed) this.#table.insert(name, value);
      }
      bytes += name.length + value.length + entryOverhead;
      // Decoded to its end all the same: the table must stay in step (RFC 9113, 4.3).
      if (bytes > this.#limits.maxHeaderListBytes) isTooLong = true;
      if (!isTooLong) fields.push(name, value);
    }
    return { fields, isTooLong, derived: undefined };
  }

  #nameOf(index: number): string {
    const known = staticTable[index - 1];
    return known === undefined ? this.#table.nameAt(this.#dynamic(index)) : known[0];
  }

  #valueOf(index: number): string {
    const known = staticTable[index - 1];
    return known === undefined ? this.#table.valueAt(this.#dynamic(index)) : known[1];
  }

  /** The index into the dynamic table, which follows the static one (RFC 7541, 2.3.3). */
  #dynamic(index: number): number {
    const own = index - 1 - staticTable.length;
    if (index === 0 || own >= this.#table.count) throw new HpackError('an index beyond the tables');
    return own;
  }

  /** An integer with a prefix of so many bits (RFC 7541, 5.1). */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = (this.#block[this.#at++] as number) & mask;
    if (value < mask) return value;
    for (let weight = 1; ; weight *= 128) {
      if (this.#at >= this.#end) throw new HpackError('an integer is cut short');
      const byte = this.#block[this.#at++] as number;
      value += (byte & 0x7f) * weight;
      if (value > largestInteger || weight > largestInteger) throw new HpackError('an integer is too large');
      if (byte < 0x80) return value;
    }
  }

  /** A string literal (RFC 7541, 5.2). */
  #string(): string {
    if (this.#at >= this.#end) throw new HpackError('a string is cut short');
    const isCoded = (this.#block[this.#at] as number) >= 0x80;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw new HpackError('a string is cut short');
    this.#at = end;
    if (!isCoded) return this.#block.toString('latin1', start, end);
    const longest = longestDecoded(length);
    if (longest > this.#scratch.length) this.#scratch = Buffer.allocUnsafe(longest);
    return this.#scratch.toString('latin1', 0, decodeHuffman(this.#block, start, end, this.#scratch));
  }
}
