/** `layercache warm`: writes what storage holds into the cache. */
import { z } from 'zod';
import { command, flag } from '../command.js';
import { path } from '../option-values.js';
import { group, walkOptions, walkSettings } from '../walk-options.js';

const maxRate = 1_000_000;

export const warm = command({
  name: 'warm',
  summary: 'write what storage holds into the cache',
  description:
    'Walks the storage and writes memberships and metadata into the cache that the servers share, as their misses would. What the cache holds already stays. SIGINT and SIGTERM end it; with --resume the same command goes on from there.',
  arguments: {},
  options: {
    ...walkOptions,
    rate: {
      group,
      placeholder: 'layers',
      default: '',
      help: 'the most layers a second, so that a busy Redis is spared',
      schema: z.string().transform((text, context) => {
        if (text === '') return Number.POSITIVE_INFINITY;
        if (/^[1-9]\d{0,6}$/.test(text) && Number(text) <= maxRate) return Number(text);
        context.addIssue(`must be a whole number from 1 to ${maxRate}`);
        return z.NEVER;
      }),
      environment: false,
    },
    resume: {
      group,
      placeholder: 'file',
      default: '',
      help: 'where to keep how far it is: an interrupted walk goes on after the last repository that was done; the file is removed at the end',
      schema: path(),
      environment: false,
    },
    'dry-run': {
      group,
      placeholder: '',
      default: '',
      help: 'only read the storage, and say what would be written into an empty cache',
      schema: flag(),
      environment: false,
    },
  },
  run: async ({ options, signal }) => {
    const { warm } = await import('../warm.js');
    const settings = {
      ...walkSettings(options),
      rate: options.rate,
      resume: options.resume,
      dryRun: options['dry-run'],
    };
    await warm(settings, signal, process);
    return 0;
  },
});
