/** Options that the commands which walk storage and cache have in common. */
import { flag, type OptionSpec, type OptionValues } from './command.js';
import { options } from './option-schema.js';
import { repositoryName } from './option-values.js';
import type { WalkSettings } from './walked-storage.js';

export const group = 'What it does';

export const walkOptions = {
  storage: options.storage,
  cache: {
    ...options.cache,
    default: 'redis://127.0.0.1:6379',
    help: 'the layer-info cache that the servers share: redis://…, redis+sentinel://…/master, redis+cluster://…, or over TLS rediss…',
  },
  'storage-timeout': options['storage-timeout'],
  'cache-timeout': options['cache-timeout'],
  config: options.config,
  repository: {
    group,
    placeholder: 'name',
    default: '',
    help: 'only this repository; repeatable',
    schema: repositoryName(),
    environment: false,
    repeatable: true,
  },
  json: {
    group,
    placeholder: '',
    default: '',
    help: 'print JSON, one object a line',
    schema: flag(),
    environment: false,
  },
} satisfies Record<string, OptionSpec<unknown>>;

/** What they say, as the walk takes it. */
export function walkSettings(options: OptionValues<typeof walkOptions>): WalkSettings {
  return {
    storage: options.storage,
    cache: options.cache,
    storageTimeout: options['storage-timeout'],
    cacheTimeout: options['cache-timeout'],
    repositories: options.repository,
    json: options.json,
  };
}
