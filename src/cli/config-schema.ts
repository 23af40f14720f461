/** The JSON schema of the configuration file, for editors, made from the declarations of the options. */
import type { OptionSpec } from './command.js';
import { fileOptions } from './config-file.js';
import { writtenForm } from './option-values.js';

type Json = Readonly<Record<string, unknown>>;

/** In draft 7, which editors' YAML servers know best. It cannot say the range of a duration or a size. */
export function configSchema(): Json {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'The configuration file of layercache',
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(
      Object.entries(fileOptions).map(([name, spec]) => [name, propertyOf(spec)]),
    ),
  };
}

function propertyOf(spec: OptionSpec<unknown>): Json {
  const { help, default: fallback, repeatable } = spec;
  const value = formOf(spec);
  const accepted = repeatable ? { anyOf: [value, { type: 'array', items: value }] } : value;
  return { description: help, ...(fallback !== '' && { default: fallback }), ...accepted };
}

function formOf({ schema }: OptionSpec<unknown>): Json {
  const { choices, pattern, numbers } = writtenForm(schema);
  if (choices !== undefined) return { enum: choices };
  const text = { type: 'string', ...(pattern !== undefined && { pattern }) };
  if (numbers === undefined) return text;
  return { anyOf: [{ type: 'integer', minimum: numbers.min, maximum: numbers.max }, text] };
}
