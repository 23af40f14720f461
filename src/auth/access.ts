/** What a caller may do, in the words of the registry's token specification, and what is said when he may not. */

export interface Access {
  /** `repository`, or `registry`. */
  readonly type: string;
  readonly name: string;
  /** `pull`, `push`, `delete`; `*` for all. */
  readonly actions: readonly string[];
}

/** Who calls, said by what he may do. */
export interface Grant {
  /** An action of `*` is only given by one of `*`. */
  allows(type: string, name: string, action: string): boolean;
}

/** Exactly what is listed, as a token does. */
export class ListedAccess implements Grant {
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

/** For whoever must not be asked about anything. */
export const nothing: Grant = { allows: () => false };

// Neither holds one in anything that is asked for.
function keyOf(type: string, name: string): string {
  return `${type}\0${name}`;
}

/** Why a call is not let in. */
export type AccessReason = 'TOKEN_INVALID' | 'SCOPE_MISSING' | 'KEYS_UNAVAILABLE';

/** A call is not let in. The message is for its client: it tells nothing of what he sent. */
export abstract class AccessError extends Error {
  abstract readonly reason: AccessReason;
}

/** The caller did not show who he is. */
export class TokenInvalidError extends AccessError {
  override readonly name = 'TokenInvalidError';
  readonly reason = 'TOKEN_INVALID';
}

/** The caller is known and may not do that. */
export class ScopeMissingError extends AccessError {
  override readonly name = 'ScopeMissingError';
  readonly reason = 'SCOPE_MISSING';
  constructor(type: string, action: string) {
    super(type === 'repository' ? `${action} is not allowed on this repository` : 'this call is not allowed');
  }
}

/** The keys that would tell cannot be had. Transient. */
export class KeysUnavailableError extends AccessError {
  override readonly name = 'KeysUnavailableError';
  readonly reason = 'KEYS_UNAVAILABLE';
  constructor(cause: unknown) {
    super('the keys that tokens are verified with are not available', { cause });
  }
}
