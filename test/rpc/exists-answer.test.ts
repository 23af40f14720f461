import { expect, it } from 'vitest';
import { ExistsResponse, Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { frameOf } from '../../src/grpc/frame.js';
import { encodeExists } from '../../src/rpc/exists-answer.js';

const sources = [Source.SOURCE_UNSPECIFIED, Source.SOURCE_CACHE, Source.SOURCE_UPSTREAM];
const answers = [true, false].flatMap((exists) => sources.map((source) => ({ exists, source })));

it.each(answers)('is what the generated encoder writes: %j', (answer) => {
  expect(encodeExists(answer)).toEqual(frameOf(ExistsResponse.encode(answer).finish()));
});
