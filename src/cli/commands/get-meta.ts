import { digestArgument } from '../arguments.js';
import { clientOptions, withClient } from '../client-options.js';
import { command } from '../command.js';
import { print } from '../output.js';

export const getMeta = command({
  name: 'get-meta',
  summary: 'print where the cache says that a blob lies, and its length; exit 1 when it is unknown',
  arguments: { digest: digestArgument },
  options: clientOptions,
  run: async ({ arguments: { digest }, options, signal }) => {
    const meta = await withClient(options, (client) => client.getMeta(digest, { signal }));
    print(options.json, { ...meta }, `${meta.path} ${meta.length}`);
    return 0;
  },
});
