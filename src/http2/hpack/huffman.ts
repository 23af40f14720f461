/** Huffman-coded strings (RFC 7541, 5.2), decoded four bits at a time by a state machine. */
import { HpackError } from './errors.js';
import { endOfString, huffmanCodes } from './huffman-codes.js';

// Each state is an inner node of the code's tree. A step packs the next state, the symbol that
// it completes, and what is to be done; no code is shorter than a step, so it completes one at most.
const stepBits = 4;
const stepsPerState = 1 << stepBits;
const emits = 1 << 16;
const fails = 1 << 17;

interface Node {
  readonly state: number;
  readonly children: (Node | number | undefined)[];
}

const root: Node = { state: 0, children: [] };
const nodes: Node[] = [root];

for (const [symbol, { bits, length }] of huffmanCodes.entries()) {
  let node = root;
  for (let bit = length - 1; bit > 0; bit--) {
    const side = (bits >>> bit) & 1;
    let next = node.children[side];
    if (typeof next !== 'object') {
      next = { state: nodes.length, children: [] };
      nodes.push(next);
      node.children[side] = next;
    }
    node = next;
  }
  node.children[bits & 1] = symbol;
}

const steps = new Uint32Array(nodes.length * stepsPerState);
for (const node of nodes) {
  for (let input = 0; input < stepsPerState; input++) {
    steps[node.state * stepsPerState + input] = stepFrom(node, input);
  }
}

function stepFrom(from: Node, input: number): number {
  let node = from;
  let step = 0;
  for (let bit = stepBits - 1; bit >= 0; bit--) {
    const next = node.children[(input >>> bit) & 1];
    if (typeof next === 'object') {
      node = next;
    } else {
      if (next === undefined || next === endOfString) return fails;
      step = emits | (next << 8);
      node = root;
    }
  }
  return step | node.state;
}

/** The states that a string may end in: the padding is at most seven bits of the end of string's code, all ones. */
const mayEnd = new Uint8Array(nodes.length);
let padding: Node | number | undefined = root;
for (let bits = 0; bits < 8 && typeof padding === 'object'; bits++) {
  mayEnd[padding.state] = 1;
  padding = padding.children[1];
}

/** The longest string that so many coded bytes can stand for. */
export function longestDecoded(bytes: number): number {
  const shortestCode = 5;
  return Math.floor((bytes * 8) / shortestCode);
}

/** Decodes `from[start, end)` into `to` and returns how many bytes it became. Throws an `HpackError`. */
export function decodeHuffman(from: Uint8Array, start: number, end: number, to: Uint8Array): number {
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = from[at] as number;
    let step = steps[state * stepsPerState + (byte >>> stepBits)] as number;
    if (step >= emits) {
      if (step >= fails) throw new HpackError('a Huffman code is the end of string, or none');
      to[length++] = (step >>> 8) & 0xff;
    }
    step = steps[(step & 0xff) * stepsPerState + (byte & (stepsPerState - 1))] as number;
    if (step >= emits) {
      if (step >= fails) throw new HpackError('a Huffman code is the end of string, or none');
      to[length++] = (step >>> 8) & 0xff;
    }
    state = step & 0xff;
  }
  if (mayEnd[state] !== 1) throw new HpackError('the padding of a Huffman-coded string is not its own');
  return length;
}

/** Bytes of the text's code; `text` has characters below 256 only. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let at = 0; at < text.length; at++)
    bits += (huffmanCodes[text.charCodeAt(at)] as { length: number }).length;
  return Math.ceil(bits / 8);
}

/** Writes the text's code at `at` and returns where it ends; there must be `huffmanLength(text)` bytes. */
export function encodeHuffman(text: string, to: Uint8Array, at: number): number {
  let pending = 0;
  let count = 0;
  let end = at;
  for (let index = 0; index < text.length; index++) {
    const { bits, length } = huffmanCodes[text.charCodeAt(index)] as { bits: number; length: number };
    // Up to 30 bits beside at most 7 pending ones: more than 32, so in two parts.
    for (const [part, size] of length > 16
      ? [
          [bits >>> 16, length - 16],
          [bits & 0xffff, 16],
        ]
      : [[bits, length]]) {
      pending = (pending << (size as number)) | (part as number);
      count += size as number;
      while (count >= 8) {
        count -= 8;
        to[end++] = (pending >>> count) & 0xff;
      }
      pending &= (1 << count) - 1;
    }
  }
  if (count > 0) to[end++] = (pending << (8 - count)) | (0xff >>> count);
  return end;
}
