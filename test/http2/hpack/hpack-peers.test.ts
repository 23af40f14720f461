/** HPACK over generated lists, against Debian's python3-hpack and against itself. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HpackDecoder } from '../../../src/http2/hpack/decoder.js';
import { HpackEncoder } from '../../../src/http2/hpack/encoder.js';

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
const value = fc.oneof(
  fc.stringMatching(/^[ -~]{0,60}$/).map((text) => text.trim()),
  fc.constantFrom('200', 'GET', '/', 'application/grpc', 'trailers'),
);
/** Names repeat, as they do between the requests of one connection. */
const field = fc.oneof(
  fc.tuple(name, value),
  fc.tuple(fc.constantFrom(':status', ':path', 'accept', 'x-a', 'x-b', 'grpc-message'), value),
);
const list = fc.array(field, { maxLength: 12 }).map((fields) => fields.flat());
/** Blocks of one connection, a new table size before some of them. */
const blocks = fc.array(fc.tuple(list, fc.option(fc.constantFrom(0, 40, 100, 500, 4096), { freq: 4 })), {
  minLength: 1,
  maxLength: 8,
});

const program = `
import json, sys
from hpack import Decoder, Encoder
for line in sys.stdin:
    encoder, decoder = Encoder(), Decoder()
    decoder.max_allowed_table_size = 4096
    answers = []
    for block in json.loads(line):
        if 'hex' in block:
            fields = decoder.decode(bytes.fromhex(block['hex']), raw=True)
            answers.append([part.decode('latin1') for field in fields for part in field])
        else:
            if block['size'] is not None: encoder.header_table_size = block['size']
            fields = block['fields']
            pairs = list(zip(fields[::2], fields[1::2]))
            answers.append(encoder.encode(pairs, huffman=block['huffman']).hex())
    print(json.dumps(answers), flush=True)
`;

let python: ChildProcessWithoutNullStreams;
let answers: AsyncIterator<string>;

beforeAll(() => {
  python = spawn('/usr/bin/python3', ['-c', program]);
  python.stderr.pipe(process.stderr);
  answers = createInterface(python.stdout)[Symbol.asyncIterator]();
});

afterAll(() => {
  python.kill();
});

async function ask<T>(question: readonly object[]): Promise<T[]> {
  python.stdin.write(`${JSON.stringify(question)}\n`);
  const { value: line } = await answers.next();
  return JSON.parse(line) as T[];
}

it('python3-hpack reads what we write, with table sizes that change', async () => {
  await fc.assert(
    fc.asyncProperty(blocks, async (sent) => {
      const encoder = new HpackEncoder();
      const encoded = sent.map(([fields, size]) => {
        if (size !== null) encoder.setMaxTableBytes(size);
        return { hex: encoder.encode(fields).toString('hex') };
      });
      expect(await ask(encoded)).toEqual(sent.map(([fields]) => fields));
    }),
    { numRuns: 300 },
  );
});

it('we read what python3-hpack writes, with and without Huffman coding', async () => {
  await fc.assert(
    fc.asyncProperty(blocks, fc.boolean(), async (sent, huffman) => {
      const question = sent.map(([fields, size]) => ({ fields, size, huffman }));
      const decoder = new HpackDecoder({ maxTableBytes: 4096, maxHeaderListBytes: 1 << 20 });
      const decoded = (await ask<string>(question)).map((hex) => [
        ...decoder.decode(Buffer.from(hex, 'hex')).fields,
      ]);
      expect(decoded).toEqual(sent.map(([fields]) => fields));
    }),
    { numRuns: 300 },
  );
});

it('we read what we write, whichever bytes it has', () => {
  const anything = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 });
  fc.assert(
    fc.property(fc.array(anything, { maxLength: 6 }), (lists) => {
      const encoder = new HpackEncoder();
      const decoder = new HpackDecoder({ maxTableBytes: 4096, maxHeaderListBytes: 1 << 20 });
      for (const texts of lists) {
        const fields = texts.map((text) => Buffer.from(text).toString('latin1'));
        if (fields.length % 2 === 1) fields.pop();
        expect([...decoder.decode(encoder.encode(fields)).fields]).toEqual(fields);
      }
    }),
  );
});

it('rubbish throws an HpackError or gives a list, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 4 }), (given) => {
      const decoder = new HpackDecoder({ maxTableBytes: 256, maxHeaderListBytes: 500 });
      try {
        for (const block of given) {
          const { fields } = decoder.decode(Buffer.from(block));
          expect(fields.length % 2).toBe(0);
          expect(fields.join('').length + fields.length * 16).toBeLessThanOrEqual(500);
        }
      } catch (error) {
        expect(error).toMatchObject({ name: 'HpackError' });
      }
    }),
    { numRuns: 2000 },
  );
});
