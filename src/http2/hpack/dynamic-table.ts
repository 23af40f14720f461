/** The dynamic table (RFC 7541, 2.3.2 and 4): the newest entry has the lowest index, and the oldest go first. */

/** What an entry costs besides its characters (RFC 7541, 4.1). */
export const entryOverhead = 32;

export class DynamicTable {
  /** A ring of names and values; the newest entry is at `#newest`. */
  #names: string[] = [];
  #values: string[] = [];
  #newest = -1;
  #count = 0;
  #bytes = 0;
  #maxBytes: number;
  #inserted = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Entries. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all entries, as RFC 7541, 4.1 counts them. */
  get bytes(): number {
    return this.#bytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Entries that were ever inserted: the newest has this number. */
  get inserted(): number {
    return this.#inserted;
  }

  /** The entry at that index from 0, the newest; it must be below `count`. */
  nameAt(index: number): string {
    return this.#names[this.#slot(index)] as string;
  }

  valueAt(index: number): string {
    return this.#values[this.#slot(index)] as string;
  }

  /** Inserts an entry; one that is larger than the table empties it (RFC 7541, 4.4). */
  insert(name: string, value: string): void {
    const size = name.length + value.length + entryOverhead;
    this.#evict(this.#maxBytes - size);
    this.#inserted++;
    if (size > this.#maxBytes) return;
    if (this.#count === this.#names.length) this.#grow();
    this.#newest = (this.#newest + 1) % this.#names.length;
    this.#names[this.#newest] = name;
    this.#values[this.#newest] = value;
    this.#count++;
    this.#bytes += size;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evict(maxBytes);
  }

  #evict(most: number): void {
    while (this.#count > 0 && this.#bytes > most) {
      const oldest = this.#slot(this.#count - 1);
      this.#bytes -=
        (this.#names[oldest] as string).length + (this.#values[oldest] as string).length + entryOverhead;
      this.#names[oldest] = '';
      this.#values[oldest] = '';
      this.#count--;
    }
  }

  #slot(index: number): number {
    const { length } = this.#names;
    return (this.#newest - index + length) % length;
  }

  #grow(): void {
    const names: string[] = [];
    const values: string[] = [];
    for (let index = this.#count - 1; index >= 0; index--) {
      names.push(this.nameAt(index));
      values.push(this.valueAt(index));
    }
    const length = Math.max(8, this.#names.length * 2);
    while (names.length < length) names.push('');
    while (values.length < length) values.push('');
    this.#names = names;
    this.#values = values;
    this.#newest = this.#count - 1;
  }
}
