/** The examples of RFC 7541, Appendix C, word for word, and the rules of its sections. */
import { describe, expect, it } from 'vitest';
import { HpackDecoder } from '../../../src/http2/hpack/decoder.js';
import { HpackEncoder } from '../../../src/http2/hpack/encoder.js';
import { HpackError } from '../../../src/http2/hpack/errors.js';

function decoder(maxTableBytes = 4096, maxHeaderListBytes = 1 << 16): HpackDecoder {
  return new HpackDecoder({ maxTableBytes, maxHeaderListBytes });
}

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replace(/\s/g, ''), 'hex');
}

const requests = [
  [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'],
  [
    ':method',
    'GET',
    ':scheme',
    'http',
    ':path',
    '/',
    ':authority',
    'www.example.com',
    'cache-control',
    'no-cache',
  ],
  [
    ':method',
    'GET',
    ':scheme',
    'https',
    ':path',
    '/index.html',
    ':authority',
    'www.example.com',
    'custom-key',
    'custom-value',
  ],
];
const first = 'Mon, 21 Oct 2013 20:13:21 GMT';
const second = 'Mon, 21 Oct 2013 20:13:22 GMT';
const cookie = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
const responses = [
  [':status', '302', 'cache-control', 'private', 'date', first, 'location', 'https://www.example.com'],
  [':status', '307', 'cache-control', 'private', 'date', first, 'location', 'https://www.example.com'],
  [
    ...[':status', '200', 'cache-control', 'private', 'date', second, 'location', 'https://www.example.com'],
    ...['content-encoding', 'gzip', 'set-cookie', cookie],
  ],
];

describe('RFC 7541, Appendix C', () => {
  it.each([
    [
      'C.2.1 a literal field with indexing',
      '400a637573746f6d2d6b65790d637573746f6d2d686561646572',
      ['custom-key', 'custom-header'],
    ],
    ['C.2.2 a literal field without indexing', '040c2f73616d706c652f70617468', [':path', '/sample/path']],
    ['C.2.3 a literal field never indexed', '100870617373776f726406736563726574', ['password', 'secret']],
    ['C.2.4 an indexed field', '82', [':method', 'GET']],
  ])('%s', (_, hex, fields) => {
    expect(decoder().decode(bytes(hex)).fields).toEqual(fields);
  });

  it.each([
    [
      'C.3 requests without Huffman coding',
      4096,
      requests,
      [
        '828684410f7777772e6578616d706c652e636f6d',
        '828684be58086e6f2d6361636865',
        '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
      ],
    ],
    [
      'C.4 requests with Huffman coding',
      4096,
      requests,
      [
        '828684418cf1e3c2e5f23a6ba0ab90f4ff',
        '828684be5886a8eb10649cbf',
        '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
      ],
    ],
    [
      'C.5 responses without Huffman coding, with evictions',
      256,
      responses,
      [
        `4803333032580770726976617465611d${Buffer.from(first).toString('hex')}6e17${Buffer.from('https://www.example.com').toString('hex')}`,
        '4803333037c1c0bf',
        `88c1611d${Buffer.from(second).toString('hex')}c05a04677a69707738${Buffer.from(cookie).toString('hex')}`,
      ],
    ],
    [
      'C.6 responses with Huffman coding, with evictions',
      256,
      responses,
      [
        '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
        '4883640effc1c0bf',
        `88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007`,
      ],
    ],
  ])('%s', (_, maxTableBytes, lists, blocks) => {
    const decode = decoder(maxTableBytes);
    for (const [index, block] of blocks.entries()) {
      expect(decode.decode(bytes(block)).fields).toEqual(lists[index]);
    }
  });

  it('C.4 as our encoder writes it', () => {
    const encoder = new HpackEncoder();
    const blocks = requests.map((fields) => encoder.encode(fields).toString('hex'));
    expect(blocks).toEqual([
      '828684418cf1e3c2e5f23a6ba0ab90f4ff',
      '828684be5886a8eb10649cbf',
      '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
    ]);
  });
});

describe('errors', () => {
  it.each([
    ['2.3.3 index 0', '80'],
    ['2.3.3 an index beyond the tables', 'be'],
    ['2.3.3 the name of an index beyond the tables', '7e0161'],
    ['4.2 a size update beyond the announced size', '3fe21f'],
    ['4.2 a size update after a field', '8220'],
    ['4.2 three size updates', '202020'],
    ['5.1 an integer that is cut short', 'ff80'],
    ['5.1 an integer that never ends', `ff${'80'.repeat(20)}00`],
    ['5.1 an integer that is too large', 'ffffffffff7f'],
    ['5.2 a string that is cut short', '400561'],
    ['5.2 a string without its length', '40'],
    ['5.2 a value that is missing', '4001 61'],
    ['5.2 a Huffman code that is the end of string', '4084 ffffffff 0161'],
    ['5.2 padding longer than 7 bits', '4082 1fff 0161'],
    ['5.2 padding that is not the beginning of the end of string', '4081 18 0161'],
  ])('%s', (_, hex) => {
    expect(() => decoder().decode(bytes(hex))).toThrow(HpackError);
  });
});

describe('the dynamic table', () => {
  it('4.4 an entry that is larger than the table empties it', () => {
    const decode = decoder(64);
    decode.decode(bytes('4001610162'));
    expect(decode.decode(bytes('be')).fields).toEqual(['a', 'b']);
    decode.decode(bytes(`400163 7f11 ${'64'.repeat(144)}`));
    expect(() => decode.decode(bytes('be'))).toThrow(HpackError);
  });

  it('4.3 a smaller size evicts, a size of 0 empties it', () => {
    const decode = decoder();
    decode.decode(bytes('4001610162'));
    decode.decode(bytes('20'));
    expect(() => decode.decode(bytes('be'))).toThrow(HpackError);
  });

  it('4.2 the encoder says that its table has become smaller, and that it was', () => {
    const encoder = new HpackEncoder();
    const decode = decoder();
    const fields = ['a', 'b'];
    expect(decode.decode(encoder.encode(fields)).fields).toEqual(fields);
    encoder.setMaxTableBytes(0);
    encoder.setMaxTableBytes(4096);
    const block = encoder.encode(fields);
    // A size of 0, then 4,096.
    expect(block.subarray(0, 4).toString('hex')).toBe('203fe11f');
    expect(decode.decode(block).fields).toEqual(fields);
    expect(decode.decode(encoder.encode(fields)).fields).toEqual(fields);
  });

  it('an encoder whose peer allows no table sends literals', () => {
    const encoder = new HpackEncoder();
    encoder.setMaxTableBytes(0);
    const decode = decoder(0);
    for (let round = 0; round < 3; round++)
      expect(decode.decode(encoder.encode(['x', 'y'])).fields).toEqual(['x', 'y']);
  });
});

describe('what it costs', () => {
  it('the same list is encoded once while the table is what it was', () => {
    const encoder = new HpackEncoder();
    const fields = [':status', '200', 'content-type', 'application/grpc+proto'];
    const long = encoder.encode(fields).length;
    const block = encoder.encode(fields);
    expect(block.length).toBe(2);
    expect(block.length).toBeLessThan(long);
    expect(encoder.encode(fields)).toBe(block);
    encoder.encode(['other', 'field']);
    expect(encoder.encode(fields)).not.toBe(block);
  });

  it('the same block gives the same list while the table is what it was', () => {
    const decode = decoder();
    decode.decode(bytes('4001610162'));
    const list = decode.decode(bytes('be82'));
    expect(decode.decode(bytes('be82'))).toBe(list);
    decode.decode(bytes('4001630164'));
    expect(decode.decode(bytes('be82')).fields).toEqual(['c', 'd', ':method', 'GET']);
  });

  it('values that differ with each answer stay out of the table', () => {
    const encoder = new HpackEncoder();
    const decode = decoder();
    const decoded = [...Array(200).keys()].map((index) => {
      const fields = ['grpc-status', '5', 'grpc-message', `message ${index}`];
      return [decode.decode(encoder.encode(fields)).fields, fields];
    });
    for (const [actual, expected] of decoded) expect(actual).toEqual(expected);
    expect(encoder.encode(['grpc-status', '5'])).toHaveLength(1);
  });
});

describe('RFC 9113, 6.5.2: a list that is too long', () => {
  it('is decoded to its end, so that the table stays in step, and is not held', () => {
    const decode = decoder(4096, 100);
    const long = Buffer.concat([
      bytes('4001610162'),
      bytes('0001787f25'),
      Buffer.alloc(164, 0x79),
      bytes('4001630164'),
    ]);
    const list = decode.decode(long);
    expect(list.isTooLong).toBe(true);
    expect(list.fields).toEqual(['a', 'b']);
    expect(decode.decode(bytes('bfbe')).fields).toEqual(['a', 'b', 'c', 'd']);
  });
});
