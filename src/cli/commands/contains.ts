import { digestArgument, repositoryArgument } from '../arguments.js';
import { clientOptions, withClient } from '../client-options.js';
import { command } from '../command.js';
import { print } from '../output.js';

export const contains = command({
  name: 'contains',
  summary: 'ask the cache alone whether it knows a layer in a repository: exit 0 when it does, else 1',
  arguments: { repository: repositoryArgument, digest: digestArgument },
  options: clientOptions,
  run: async ({ arguments: { repository, digest }, options, signal }) => {
    const isContained = await withClient(options, (client) =>
      client.contains(repository, digest, { signal }),
    );
    print(options.json, { contains: isContained }, isContained ? 'yes' : 'no');
    return isContained ? 0 : 1;
  },
});
