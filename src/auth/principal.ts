/** Authorization: who calls and with which scopes, as in the registry's token specification, and its errors. */

export interface Access {
  /** `repository`, or `registry`. */
  readonly type: string;
  readonly name: string;
  /** `pull`, `push`, `delete`; `*` for all. */
  readonly actions: readonly string[];
}

/** The caller, by its scopes. */
export interface Principal {
  /** The action `*` needs a scope with `*`. */
  allows(type: string, name: string, action: string): boolean;
}

/** Has exactly the listed scopes, as a token does. */
export class ScopedPrincipal implements Principal {
  readonly #actions = new Map<string, Set<string>>();

  constructor(list: readonly Access[]) {
    for (const { type, name, actions } of list) {
      const key = keyOf(type, name);
      const known = this.#actions.get(key);
      if (known === undefined) this.#actions.set(key, new Set(actions));
      else for (const action of actions) known.add(action);
    }
  }

  allows(type: string, name: string, action: string): boolean {
    const actions = this.#actions.get(keyOf(type, name));
    return actions !== undefined && (actions.has(action) || actions.has('*'));
  }
}

/** Has no scope. */
export const nothing: Principal = { allows: () => false };

// Neither part of a scope may contain it.
function keyOf(type: string, name: string): string {
  return `${type}\0${name}`;
}

/** Why a call is refused. */
export type AccessReason = 'TOKEN_INVALID' | 'SCOPE_MISSING' | 'KEYS_UNAVAILABLE';

/** A call is refused. The message is for its client and repeats nothing of the request. */
export abstract class AccessError extends Error {
  abstract readonly reason: AccessReason;
}

/** The caller is not authenticated. */
export class TokenInvalidError extends AccessError {
  override readonly name = 'TokenInvalidError';
  readonly reason = 'TOKEN_INVALID';
}

/** The caller is authenticated and lacks the scope. */
export class ScopeMissingError extends AccessError {
  override readonly name = 'ScopeMissingError';
  readonly reason = 'SCOPE_MISSING';
  constructor(type: string, action: string) {
    super(type === 'repository' ? `${action} is not allowed on this repository` : 'this call is not allowed');
  }
}

/** The keys that verify the token are not available. Transient. */
export class KeysUnavailableError extends AccessError {
  override readonly name = 'KeysUnavailableError';
  readonly reason = 'KEYS_UNAVAILABLE';
  constructor(cause: unknown) {
    super('the keys that tokens are verified with are not available', { cause });
  }
}
