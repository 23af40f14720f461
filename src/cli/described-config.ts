/** The options in force as an operator may see them: no password, no token, no query of a URL. */
import { options } from './option-schema.js';
import { writtenValue } from './option-values.js';
import { type Config, optionNames } from './options.js';

/** Every option with its value as it may be written; '' for one that is not set. */
export function describeConfig(
  config: Config,
  described: { readonly cache: string; readonly storage: string },
): readonly { readonly name: string; readonly value: string }[] {
  return optionNames.map((name) => ({ name, value: settingOf(name, config, described) }));
}

function settingOf(
  name: keyof Config,
  config: Config,
  described: { readonly cache: string; readonly storage: string },
): string {
  if (name === 'cache' || name === 'storage') return described[name];
  const value = config[name];
  if ((name === 'admin' || name === 'notifications') && value === undefined) return 'off';
  if (typeof value === 'string' && /^https?:/i.test(value)) {
    // A query may hold a key.
    const { origin, pathname } = new URL(value);
    return `${origin}${pathname}`;
  }
  return writtenValue(options[name].schema, value);
}
