import { digestArgument, repositoryArgument } from '../arguments.js';
import { clientOptions, withClient } from '../client-options.js';
import { command } from '../command.js';
import { print } from '../output.js';

export const add = command({
  name: 'add',
  summary: 'record in the cache that a repository has a layer; exit 1 when the storage does not confirm it',
  arguments: { repository: repositoryArgument, digest: digestArgument },
  options: clientOptions,
  run: async ({ arguments: { repository, digest }, options, signal }) => {
    await withClient(options, (client) => client.add(repository, digest, { signal }));
    print(options.json, { added: true }, 'recorded');
    return 0;
  },
});
