/** Every command, in the order in which `--help` shows them. */
import { type Command, jsonFlag } from './command.js';
import { add } from './commands/add.js';
import { audit } from './commands/audit.js';
import { completion } from './commands/completion.js';
import { contains } from './commands/contains.js';
import { doctor } from './commands/doctor.js';
import { exists } from './commands/exists.js';
import { fetch } from './commands/fetch.js';
import { getMeta } from './commands/get-meta.js';
import { man } from './commands/man.js';
import { missing } from './commands/missing.js';
import { remove } from './commands/remove.js';
import { setMeta } from './commands/set-meta.js';
import { stat } from './commands/stat.js';
import { warm } from './commands/warm.js';
import { options } from './option-schema.js';
import { oneOf } from './option-values.js';

/** What help, completion and the manual page tell of a command. */
export type CommandOutline = Omit<Command, 'run'>;

/** What happens when no command is named. */
export const serve = {
  name: 'serve',
  summary: 'answer until SIGTERM or SIGINT (what happens when no command is named)',
  arguments: {},
  options,
} satisfies CommandOutline;

export const health = {
  name: 'health',
  summary: "ask a running server's /readyz: exit 0 when it is ready, else 1",
  arguments: {},
  options: { admin: options.admin, config: options.config },
} satisfies CommandOutline;

export const config = {
  name: 'config',
  summary: 'check the options of serve and show what is in force, or print a JSON schema',
  description:
    'check says what is wrong with the options of serve, all of it, one line each, and exits with 2; when nothing is, it prints every option in force, without its secrets, and where its value came from: the command line, the environment, the file of --config or the default. schema prints the JSON schema of that file, for editors.',
  arguments: {
    action: { placeholder: 'ACTION', help: 'check or schema', schema: oneOf('check', 'schema') },
  },
  options: {
    ...options,
    json: jsonFlag,
  },
} satisfies CommandOutline;

/** The commands beside those three. */
export const commands: readonly Command[] = [
  exists,
  stat,
  missing,
  fetch,
  contains,
  add,
  remove,
  getMeta,
  setMeta,
  warm,
  audit,
  doctor,
  completion,
  man,
];

/** All of them. */
export function outlines(): readonly CommandOutline[] {
  return [serve, health, config, ...commands];
}
