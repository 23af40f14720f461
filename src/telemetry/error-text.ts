/**
 * Errors as an operator reads them: the cause in the line itself, and a stack
 * only of what is a defect of ours.
 */
import { stdSerializers } from 'pino';

/** The message followed by the error's first line, its causes included: `cache failed: connect ECONNREFUSED …`. */
export function withCause(message: string, error: unknown): string {
  return `${message}: ${causeOf(error)}`;
}

/** The error's message with those of its causes, in one line. */
export function causeOf(error: unknown): string {
  const text = error instanceof Error ? stdSerializers.err(error).message : String(error);
  return text.split('\n', 1)[0] ?? '';
}

/** The error for a line about the surroundings: without its stack, unless it is a defect. */
export function withoutStack(error: unknown): unknown {
  if (isDefect(error)) return error;
  const { stack, ...described } = describeError(error as Error);
  return described;
}

/** Type, message and stack with those of its causes, and code; no other property, since a client's error may hold a password. */
export function describeError(error: Error): {
  type: string;
  message: string;
  code?: string | undefined;
  stack: string;
} {
  const { type, message, stack } = stdSerializers.err(error);
  return { type, message, code: codeOf(error), stack };
}

const defects = new Set(['TypeError', 'ReferenceError', 'RangeError', 'SyntaxError', 'AssertionError']);

/** Whether the program is wrong, not its surroundings: then the stack is needed. */
export function isDefect(error: unknown): boolean {
  if (!(error instanceof Error)) return true;
  const chain = withCauses(error);
  // Node's own fetch says TypeError of a connection that was refused.
  if (chain.some((each) => codeOf(each) !== undefined)) return false;
  return error.name === 'Error' || chain.some(({ name }) => defects.has(name));
}

function withCauses(error: Error): readonly Error[] {
  const chain: Error[] = [];
  for (let each: unknown = error; each instanceof Error && !chain.includes(each); each = each.cause) {
    chain.push(each);
  }
  return chain;
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
