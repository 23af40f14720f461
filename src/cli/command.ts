/**
 * How a command of the command line is declared: its arguments, its options
 * and what it does, each once. Parsing, `--help`, shell completion and the
 * manual page come from here. A declaration loads nothing of what it runs: the
 * command line is parsed for a health probe, too.
 */
import { z } from 'zod';

/** 0 yes or done, 1 no, 2 asked wrongly, 3 failed. */
export type ExitCode = 0 | 1 | 2 | 3;

export interface OptionSpec<T> {
  /** The heading of `--help` under which it is shown. */
  readonly group: string;
  /** What the value looks like, as `--help` shows it behind the name; '' for a flag, which has none. */
  readonly placeholder: string;
  /** What applies when neither the command line nor the environment says anything. */
  readonly default: string;
  readonly help: string;
  /** From the text to the value; an issue's message completes "--name …". */
  readonly schema: z.ZodType<T, string>;
  /** The letter of its short form. */
  readonly short?: string;
  /** Whether the environment may say it; it may unless this is `false`. */
  readonly environment?: false;
  /** Whether it may be given several times; its value is then a list, empty unless it is given. */
  readonly repeatable?: true;
}

export interface ArgumentSpec<T> {
  /** As `--help` shows it, in capitals. */
  readonly placeholder: string;
  readonly help: string;
  /** From the text to the value; an issue's message completes "PLACEHOLDER …". */
  readonly schema: z.ZodType<T, string>;
}

/** Options of a command by name, without the dashes. */
export type OptionSpecs = Readonly<Record<string, OptionSpec<unknown>>>;

/** What the options' texts became, by name. */
export type OptionValues<O extends OptionSpecs> = {
  readonly [K in keyof O]: O[K] extends { readonly schema: z.ZodType<infer T, string> }
    ? O[K] extends { readonly repeatable: true }
      ? readonly T[]
      : T
    : never;
};

/** Arguments in their order. */
export type ArgumentSpecs = Readonly<Record<string, ArgumentSpec<unknown>>>;

export type ArgumentValues<A extends ArgumentSpecs> = {
  readonly [K in keyof A]: A[K] extends ArgumentSpec<infer T> ? T : never;
};

/** The parsed arguments and options of one invocation. */
export interface Asked<A extends ArgumentSpecs, R, O extends OptionSpecs> {
  readonly arguments: ArgumentValues<A>;
  /** The values of `rest`, none when the command takes none. */
  readonly rest: readonly R[];
  readonly options: OptionValues<O>;
  /** Of this program. */
  readonly version: string;
  /** Aborts at SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** A command as it is declared. */
export interface CommandSpec<A extends ArgumentSpecs, R, O extends OptionSpecs> {
  readonly name: string;
  /** One line for `--help`, without a full stop. */
  readonly summary: string;
  /** More for its own `--help`; sentences. */
  readonly description?: string;
  readonly arguments: A;
  /** What may follow the arguments, any number of times. */
  readonly rest?: ArgumentSpec<R>;
  readonly options: O;
  /** Loads what it needs and does it. A `CommandError` or an error of the client is one line and exit code 3. */
  run(asked: Asked<A, R, O>): Promise<ExitCode>;
}

/** A command with its types erased. */
export type Command = Omit<CommandSpec<ArgumentSpecs, unknown, OptionSpecs>, 'run'> & {
  run(asked: Asked<ArgumentSpecs, unknown, OptionSpecs>): Promise<ExitCode>;
};

/** Declares a command; types of arguments and options follow from their schemas. */
export function command<A extends ArgumentSpecs, R, O extends OptionSpecs>(
  spec: CommandSpec<A, R, O>,
): Command {
  // The parser hands over what these very schemas made.
  return spec as unknown as Command;
}

/** A failure of a command: `message` is one line that says what failed and, if that is known, what to do. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** 3 unless it turns out only while running that something was asked wrongly. */
  readonly exitCode: 2 | 3;

  constructor(message: string, { exitCode = 3, cause }: { exitCode?: 2 | 3; cause?: unknown } = {}) {
    super(message, { cause });
    this.exitCode = exitCode;
  }
}

/** The schema of an option that is there or not. */
export function flag(): z.ZodType<boolean, string> {
  return z.string().transform((text, context) => {
    if (text === 'true' || text === 'on' || text === '1') return true;
    if (text === '' || text === 'false' || text === 'off' || text === '0') return false;
    context.addIssue('must be true or false');
    return z.NEVER;
  });
}

/** `--json` of a command that asks no server; no variable sets it, since a script says what it reads. */
export const jsonFlag = {
  group: 'What it prints',
  placeholder: '',
  default: '',
  help: 'print JSON, one object a line',
  schema: flag(),
  environment: false,
} satisfies OptionSpec<boolean>;
