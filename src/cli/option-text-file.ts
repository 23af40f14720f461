import { readFileSync } from 'node:fs';
import { CommandError } from './command.js';

/** The text of the file that an option names; `undefined` for none. Throws a `CommandError` that names the option. */
export function readOptionFile(option: string, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CommandError(`--${option}: ${file} cannot be read (${code})`, { exitCode: 2, cause });
  }
}
