import { digestArgument, repositoryArgument } from '../arguments.js';
import { clientOptions, withClient } from '../client-options.js';
import { command } from '../command.js';
import { print } from '../output.js';

export const remove = command({
  name: 'remove',
  summary: 'make the cache forget that a repository has a layer; the storage keeps its bytes',
  arguments: { repository: repositoryArgument, digest: digestArgument },
  options: clientOptions,
  run: async ({ arguments: { repository, digest }, options, signal }) => {
    await withClient(options, (client) => client.remove(repository, digest, { signal }));
    print(options.json, { removed: true }, 'forgotten');
    return 0;
  },
});
