import { z } from 'zod';
import type { Access, Principal } from './principal.js';

/** A certificate's name, as the policy writes it: `DNS:frontend.example`, `URI:spiffe://…`, `IP:10.0.0.1`. */
export type SubjectName = string;

const access = z.strictObject({
  type: z.enum(['repository', 'registry']),
  // A repository, all below a prefix (`team/*`), or all (`*`).
  name: z.string().regex(/^(?:\*|[^*]+|[^*]+\/\*)$/),
  actions: z.array(z.enum(['pull', 'push', 'delete', '*'])).min(1),
});

const policy = z.strictObject({
  clients: z
    .array(
      z.strictObject({
        san: z.string().regex(/^(?:DNS|URI|IP|email):[^\s"]+$/),
        access: z.array(access),
      }),
    )
    .max(10_000),
});

/** The scopes of each client, by its certificate's names. */
export class AccessPolicy {
  readonly #clients = new Map<SubjectName, Access[]>();

  /**
   * Reads `{"clients": [{"san": "DNS:…", "access": [{"type", "name",
   * "actions"}]}]}`. Throws an `Error` with one line for the operator.
   */
  constructor(text: string) {
    for (const { san, access } of parsed(text).clients) {
      const key = normalized(san);
      this.#clients.set(key, [...(this.#clients.get(key) ?? []), ...access]);
    }
  }

  /** The principal of a certificate with these names: the scopes of all of them. */
  grantOf(names: readonly SubjectName[]): Principal {
    return new PatternAccess(names.flatMap((name) => this.#clients.get(normalized(name)) ?? []));
  }
}

class PatternAccess implements Principal {
  readonly #list: readonly Access[];

  constructor(list: readonly Access[]) {
    this.#list = list;
  }

  allows(type: string, name: string, action: string): boolean {
    return this.#list.some(
      (access) =>
        access.type === type &&
        matches(access.name, name) &&
        (access.actions.includes(action) || access.actions.includes('*')),
    );
  }
}

function matches(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  return pattern.endsWith('/*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** Host names are case-insensitive. */
function normalized(name: SubjectName): SubjectName {
  return name.startsWith('DNS:') ? name.toLowerCase() : name;
}

function parsed(text: string): z.output<typeof policy> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('it is no JSON');
  }
  const { data, error } = policy.safeParse(value);
  if (data !== undefined) return data;
  const [issue] = error.issues;
  throw new Error(`${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'invalid'}`);
}
