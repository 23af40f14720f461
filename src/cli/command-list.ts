/** Every command, in the order in which `--help` shows them. */
import type { Command } from './command.js';
import { completion } from './commands/completion.js';
import { man } from './commands/man.js';
import { options } from './option-schema.js';

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
  options: { admin: options.admin },
} satisfies CommandOutline;

/** The commands beside those two. */
export const commands: readonly Command[] = [completion, man];

/** All of them. */
export function outlines(): readonly CommandOutline[] {
  return [serve, health, ...commands];
}
