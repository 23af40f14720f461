import { ExistsResponse, Source } from '../gen/messages/layercache/v1/layer_cache.js';
import { frameOf } from '../grpc/frame.js';

const answers = [false, true].flatMap((exists) =>
  [Source.SOURCE_CACHE, Source.SOURCE_UPSTREAM].map((source) => {
    const answer: ExistsResponse = { exists, source };
    return { ...answer, frame: frameOf(ExistsResponse.encode(answer).finish()) };
  }),
);

/** The answer's frame. Exists has so few answers that each is encoded once: the encoder was 2 % of the profile. */
export function encodeExists({ exists, source }: ExistsResponse): Buffer {
  for (const answer of answers) {
    if (answer.exists === exists && answer.source === source) return answer.frame;
  }
  return frameOf(ExistsResponse.encode({ exists, source }).finish());
}
