/** `layercache audit`: compares the cache with storage. */
import { command, flag } from '../command.js';
import { group, walkOptions, walkSettings } from '../walk-options.js';

export const audit = command({
  name: 'audit',
  summary: 'compare the cache with storage, and forget what is wrong',
  description:
    "Looks up every membership and all metadata of the cache in storage, and prints what is wrong: exit 1 when something was found, 0 when nothing was. Whatever seems wrong is looked at once more, so that it runs beside live servers. To be run after a registry's garbage collection, with --fix.",
  arguments: {},
  options: {
    ...walkOptions,
    fix: {
      group,
      placeholder: '',
      default: '',
      help: "forget what is wrong in the cache, never a registry's good field",
      schema: flag(),
      environment: false,
    },
    hash: {
      group,
      placeholder: '',
      default: '',
      help: 'read and hash every blob, too',
      schema: flag(),
      environment: false,
    },
  },
  run: async ({ options, signal }) => {
    const { audit } = await import('../audit.js');
    const settings = {
      ...walkSettings(options),
      fix: options.fix,
      hash: options.hash,
    };
    return (await audit(settings, signal, process)) === 0 ? 0 : 1;
  },
});
