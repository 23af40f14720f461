import { digestArgument, repositoryArgument } from '../arguments.js';
import { clientOptions, maxAgeOption, withClient } from '../client-options.js';
import { command } from '../command.js';
import { print } from '../output.js';

export const exists = command({
  name: 'exists',
  summary: 'ask whether a repository has a layer: exit 0 when it does, else 1',
  arguments: { repository: repositoryArgument, digest: digestArgument },
  options: { ...clientOptions, ...maxAgeOption },
  run: async ({ arguments: { repository, digest }, options, signal }) => {
    const maxAgeMs = options['max-age'];
    const answer = await withClient(options, (client) =>
      client.exists(repository, digest, { maxAgeMs, signal }),
    );
    print(options.json, answer, `${answer.exists ? 'yes' : 'no'}, says the ${answer.source}`);
    return answer.exists ? 0 : 1;
  },
});
