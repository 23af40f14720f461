/** How a file of deploy/ starts the program, and the same start on this machine. */
import { outlines } from '../../src/cli/command-list.js';
import { environmentName } from '../../src/cli/options.js';

export interface DeployedProgram {
  /** Where it is written. */
  readonly file: string;
  readonly command: string;
  /** Each `--option=value`. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What is named there and does not exist: options, and variables of ours. */
export function unknownNames({ command, args, env }: DeployedProgram): string[] {
  const outline = outlines().find(({ name }) => name === command);
  if (outline === undefined) return [command];
  const options = Object.keys(outline.options);
  // A container's variables are of the server, whatever its command takes of them.
  const variables = outlines().flatMap((each) => Object.keys(each.options).map(environmentName));
  return [
    ...args.filter((arg) => !options.includes(/^--([a-z-]+)/.exec(arg)?.[1] ?? '')),
    ...Object.keys(env).filter((name) => name.startsWith('LAYERCACHE_') && !variables.includes(name)),
  ];
}

/** The same start with other paths and hosts. Throws for what it does not use, so that none is forgotten. */
export function relocated(
  program: DeployedProgram,
  places: Readonly<Record<string, string>>,
): DeployedProgram {
  const used = new Set<string>();
  const relocate = (text: string) =>
    Object.entries(places).reduce((result, [from, to]) => {
      if (result.includes(from)) used.add(from);
      return result.replaceAll(from, to);
    }, text);
  const args = program.args.map(relocate);
  const env = Object.fromEntries(Object.entries(program.env).map(([name, value]) => [name, relocate(value)]));
  const unused = Object.keys(places).filter((from) => !used.has(from));
  if (unused.length > 0) throw new Error(`${program.file} does not name ${unused.join(', ')}`);
  return { ...program, args, env };
}

/** A request that a manifest has sent to the server it starts, and the port it names there. */
export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
