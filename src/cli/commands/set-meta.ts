import { z } from 'zod';
import { digestArgument } from '../arguments.js';
import { byteCount } from '../byte-count.js';
import { clientOptions, withClient } from '../client-options.js';
import { command } from '../command.js';
import { print } from '../output.js';

const group = 'What it records';

export const setMeta = command({
  name: 'set-meta',
  summary: 'record where a blob lies and its length; exit 1 when the storage does not confirm it',
  arguments: { digest: digestArgument },
  options: {
    path: {
      group,
      placeholder: 'path',
      default: '',
      help: "the blob's path below the storage's root, /docker/registry/v2/blobs/…/data",
      schema: z.string().min(1, 'is needed'),
      environment: false,
    },
    length: {
      group,
      placeholder: 'bytes',
      default: '',
      help: "the blob's length",
      schema: byteCount(),
      environment: false,
    },
    ...clientOptions,
  },
  run: async ({ arguments: { digest }, options, signal }) => {
    const { path, length } = options;
    await withClient(options, (client) => client.setMeta(digest, { path, length }, { signal }));
    print(options.json, { set: true }, 'recorded');
    return 0;
  },
});
