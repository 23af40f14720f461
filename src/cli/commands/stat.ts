import { digestArgument, repositoryArgument } from '../arguments.js';
import { clientOptions, maxAgeOption, withClient } from '../client-options.js';
import { command } from '../command.js';
import { print } from '../output.js';

export const stat = command({
  name: 'stat',
  summary: "print a layer's canonical digest and its length in bytes; exit 1 when it is unknown",
  arguments: { repository: repositoryArgument, digest: digestArgument },
  options: { ...clientOptions, ...maxAgeOption },
  run: async ({ arguments: { repository, digest }, options, signal }) => {
    const maxAgeMs = options['max-age'];
    const answer = await withClient(options, (client) =>
      client.stat(repository, digest, { maxAgeMs, signal }),
    );
    print(options.json, answer, `${answer.digest} ${answer.length}`);
    return 0;
  },
});
