/**
 * As much of HPACK (RFC 7541) as a load generator needs: the whole decoder,
 * with the Huffman codes of ASCII alone, and request blocks that use the
 * dynamic table as real clients do.
 */

export type Field = readonly [name: string, value: string];

const staticTable: readonly Field[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ...[
    'accept-language,accept-ranges,accept,access-control-allow-origin,age,allow,authorization,cache-control',
    'content-disposition,content-encoding,content-language,content-length,content-location,content-range',
    'content-type,cookie,date,etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,if-range',
    'if-unmodified-since,last-modified,link,location,max-forwards,proxy-authenticate,proxy-authorization,range',
    'referer,refresh,retry-after,server,set-cookie,strict-transport-security,transfer-encoding,user-agent,vary',
    'via,www-authenticate',
  ]
    .flatMap((names) => names.split(','))
    .map((name): Field => [name, '']),
];

// The code is canonical: the symbols of one length, in order, say it whole.
const huffmanSymbols: readonly (readonly [bits: number, symbols: string])[] = [
  [5, '012aceiost'],
  [6, ' %-./3456789=A_bdfghlmnpru'],
  [7, ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz'],
  [8, '&*,;XZ'],
  [10, '!"()?'],
  [11, "'+|"],
  [12, '#>'],
  [13, '\0$@[]~'],
  [14, '^}'],
  [15, '<`{'],
];

const huffmanCodes = new Map<string, string>();
let nextCode = 0;
let codeLength = 5;
for (const [bits, symbols] of huffmanSymbols) {
  nextCode <<= bits - codeLength;
  codeLength = bits;
  for (const symbol of symbols) huffmanCodes.set((nextCode++).toString(2).padStart(bits, '0'), symbol);
}

function huffmanDecoded(bytes: Uint8Array): string {
  let text = '';
  let code = '';
  for (const byte of bytes) {
    for (const bit of byte.toString(2).padStart(8, '0')) {
      code += bit;
      const symbol = huffmanCodes.get(code);
      if (symbol === undefined) continue;
      text += symbol;
      code = '';
    }
  }
  // What is left is padding: less than a byte of ones.
  if (code.length > 7 || code.includes('0')) throw new Error('a header is no Huffman-coded ASCII');
  return text;
}

/** One side's header blocks of one connection. */
export class HpackDecoder {
  /** Changes whenever the dynamic table does: equal blocks mean the same while it stays. */
  generation = 0;
  readonly #dynamic: Field[] = [];
  #size = 0;
  #maxSize = 4096;
  #bytes: Uint8Array = new Uint8Array();
  #at = 0;

  decode(block: Uint8Array): Field[] {
    this.#bytes = block;
    this.#at = 0;
    const fields: Field[] = [];
    while (this.#at < block.length) {
      const first = block[this.#at] ?? 0;
      if (first & 0x80) fields.push(this.#field(this.#integer(7)));
      else if (first & 0x40) fields.push(this.#insert(this.#literal(6)));
      else if (first & 0x20) this.#resize(this.#integer(5));
      else fields.push(this.#literal(4));
    }
    return fields;
  }

  #field(index: number): Field {
    const field = staticTable[index - 1] ?? this.#dynamic[index - 1 - staticTable.length];
    if (field === undefined) throw new Error(`HPACK has no index ${index}`);
    return field;
  }

  #literal(prefix: number): Field {
    const index = this.#integer(prefix);
    const name = index === 0 ? this.#string() : this.#field(index)[0];
    return [name, this.#string()];
  }

  #insert(field: Field): Field {
    this.#dynamic.unshift(field);
    this.#size += sizeOf(field);
    this.#evict();
    return field;
  }

  #resize(size: number): void {
    this.#maxSize = size;
    this.#evict();
  }

  #evict(): void {
    this.generation++;
    while (this.#size > this.#maxSize) {
      const last = this.#dynamic.pop();
      if (last === undefined) break;
      this.#size -= sizeOf(last);
    }
  }

  #integer(prefix: number): number {
    const mask = (1 << prefix) - 1;
    let value = (this.#bytes[this.#at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  #string(): string {
    const huffman = ((this.#bytes[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return huffman ? huffmanDecoded(bytes) : Buffer.from(bytes).toString('latin1');
  }
}

function sizeOf([name, value]: Field): number {
  return name.length + value.length + 32;
}

/**
 * Header blocks of the requests of one connection. A field is written out once
 * and stands in the dynamic table from then on.
 */
export class RequestEncoder {
  readonly #kinds: readonly (readonly Field[])[];
  /** In the order in which they came into the table. */
  readonly #inserted: Field[] = [];
  /** Of kinds whose fields are all in the tables, and of how many entries there were then. */
  readonly #blocks = new Map<number, Buffer>();

  /** The fields of each kind of request, pseudo-headers first. */
  constructor(kinds: readonly (readonly Field[])[]) {
    this.#kinds = kinds;
  }

  block(kind: number): Buffer {
    const known = this.#blocks.get(kind);
    if (known !== undefined) return known;
    const entries = this.#inserted.length;
    const block = Buffer.concat((this.#kinds[kind] ?? []).map((field) => this.#field(field)));
    // Another entry shifts the indices of all.
    if (this.#inserted.length > entries) this.#blocks.clear();
    else this.#blocks.set(kind, block);
    return block;
  }

  #field([name, value]: Field): Buffer {
    const isSame = (field: Field) => field[0] === name && field[1] === value;
    const whole = staticTable.findIndex(isSame);
    if (whole >= 0) return integer(0x80, 7, whole + 1);
    const own = this.#inserted.findIndex(isSame);
    // The newest has the first index behind the static ones.
    if (own >= 0) return integer(0x80, 7, staticTable.length + this.#inserted.length - own);
    this.#inserted.push([name, value]);
    const known = staticTable.findIndex((field) => field[0] === name);
    return Buffer.concat([integer(0x40, 6, known + 1), ...(known < 0 ? [string(name)] : []), string(value)]);
  }
}

function integer(pattern: number, prefix: number, value: number): Buffer {
  const mask = (1 << prefix) - 1;
  if (value < mask) return Buffer.from([pattern | value]);
  const bytes = [pattern | mask];
  for (value -= mask; value >= 0x80; value >>= 7) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([integer(0, 7, bytes.length), bytes]);
}
