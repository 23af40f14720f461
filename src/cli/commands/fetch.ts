import { digestArgument, repositoryArgument } from '../arguments.js';
import { byteCount } from '../byte-count.js';
import { clientOptions, maxAgeOption, withClient } from '../client-options.js';
import { CommandError, command } from '../command.js';
import { path } from '../option-values.js';
import { print } from '../output.js';

const group = 'What it fetches';

export const fetch = command({
  name: 'fetch',
  summary: "fetch a layer's bytes into a file, or to stdout; exit 1 when it is unknown",
  description:
    'Fetches a layer into a file, by way of FILE.part, or to stdout. A broken stream is resumed, and so is a FILE.part that is there. A whole layer is hashed: a file gets its name, and stdout its last bytes, only when the hash agrees with the digest.',
  arguments: { repository: repositoryArgument, digest: digestArgument },
  options: {
    output: {
      group,
      short: 'o',
      placeholder: 'file',
      default: '',
      help: 'where to put it; stdout unless said',
      schema: path(),
      environment: false,
    },
    offset: {
      group,
      placeholder: 'bytes',
      default: '0',
      help: 'the first byte wanted; a part of a layer is not hashed',
      schema: byteCount(),
      environment: false,
    },
    limit: {
      group,
      placeholder: 'bytes',
      default: '0',
      help: 'the most bytes wanted; 0 is to the end',
      schema: byteCount(),
      environment: false,
    },
    ...clientOptions,
    ...maxAgeOption,
  },
  run: async ({ arguments: { repository, digest }, options, signal }) => {
    const { output, offset, limit, json } = options;
    if (json && output === undefined)
      throw new CommandError('--json needs --output: stdout has the bytes', { exitCode: 2 });
    const { fetchToFile, fetchToStdout } = await import('../fetch-output.js');
    await withClient(options, async (client) => {
      const what = { client, repository, digest, offset, limit, maxAgeMs: options['max-age'], signal };
      if (output === undefined) return await fetchToStdout(what);
      const fetched = await fetchToFile(what, output);
      print(json, { ...fetched }, `${fetched.file} ${fetched.bytes}`);
    });
    return 0;
  },
});
