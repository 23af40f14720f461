import { ExistsResponse, Source } from '../gen/layercache/v1/layer_cache.js';

const answers = [false, true].flatMap((exists) =>
  [Source.SOURCE_CACHE, Source.SOURCE_UPSTREAM].map((source) => {
    const answer: ExistsResponse = { exists, source };
    return { ...answer, encoded: Buffer.from(ExistsResponse.encode(answer).finish()) };
  }),
);

/** Exists has so few answers that each is encoded once: the encoder was 2 % of the profile. */
export function encodeExists({ exists, source }: ExistsResponse): Buffer {
  for (const answer of answers) {
    if (answer.exists === exists && answer.source === source) return answer.encoded;
  }
  return Buffer.from(ExistsResponse.encode({ exists, source }).finish());
}
