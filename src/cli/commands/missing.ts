import { digestArgument, repositoryArgument } from '../arguments.js';
import { clientOptions, maxAgeOption, withClient } from '../client-options.js';
import { CommandError, command } from '../command.js';
import { blobsOfManifest } from '../manifest.js';
import { path } from '../option-values.js';
import { print } from '../output.js';

export const missing = command({
  name: 'missing',
  summary: 'print which layers a repository lacks, one a line: exit 1 when there are any, else 0',
  arguments: { repository: repositoryArgument },
  rest: digestArgument,
  options: {
    manifest: {
      group: 'What it asks about',
      placeholder: 'file',
      default: '',
      help: 'a manifest of OCI or Docker, or - for stdin: asks about its config and layers; of an index, about those of its manifests, which are read from the OCI image layout around it',
      schema: path(),
      environment: false,
      repeatable: true,
    },
    ...clientOptions,
    ...maxAgeOption,
  },
  run: async ({ arguments: { repository }, rest, options, signal }) => {
    const digests = [...rest];
    for (const file of options.manifest)
      if (file !== undefined) digests.push(...(await blobsOfManifest(file)));
    if (digests.length === 0)
      throw new CommandError('missing needs digests, or a --manifest that names some', { exitCode: 2 });
    const maxAgeMs = options['max-age'];
    const lacking = await withClient(options, (client) =>
      client.findMissing(repository, digests, { maxAgeMs, signal }),
    );
    for (const digest of lacking) print(options.json, { digest }, digest);
    return lacking.length === 0 ? 0 : 1;
  },
});
