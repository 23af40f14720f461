import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Authenticator, Credentials } from './authenticator.js';
import { type Principal, ScopedPrincipal, TokenInvalidError } from './principal.js';
import type { TokenVerifier } from './token-verifier.js';

/** Tokens that were verified and are remembered, by number and by the characters that they had. */
const maxTokens = 10_000;
const maxCharacters = 16 << 20;

const bearer = /^bearer +([A-Za-z0-9._~+/=-]+)$/i;

/** Identifies callers by the bearer token in `authorization`. A token is verified once and known until it expires. */
export class TokenAuthenticator implements Authenticator {
  readonly #verifier: Pick<TokenVerifier, 'verify'>;
  // By their hash, so that the process's memory holds no tokens.
  readonly #known = new LRUCache<string, Known>({ max: maxTokens, maxSize: maxCharacters });
  readonly #underWay = new Map<string, Promise<Principal>>();

  constructor(verifier: Pick<TokenVerifier, 'verify'>) {
    this.#verifier = verifier;
  }

  identify(call: Credentials): Principal | Promise<Principal> {
    const header = call.metadata.get('authorization')[0];
    if (header === undefined) throw new TokenInvalidError('a bearer token is needed');
    const [, token] = bearer.exec(header) ?? [];
    if (token === undefined) throw new TokenInvalidError('the authorization is no bearer token');
    const key = hash('sha256', token, 'base64');
    const known = this.#known.get(key);
    if (known !== undefined && Date.now() < known.until) return known.principal;
    return this.#underWay.get(key) ?? this.#verify(key, token);
  }

  /** Has every token verified again: the keys have changed. */
  forget(): void {
    this.#known.clear();
    this.#underWay.clear();
  }

  #verify(key: string, token: string): Promise<Principal> {
    const verifying = this.#verifier
      .verify(token)
      .then(({ access, until }) => {
        const principal = new ScopedPrincipal(access);
        // Else the keys have changed meanwhile, and it may have been verified with one that is gone.
        if (this.#underWay.get(key) === verifying) {
          this.#known.set(key, { principal, until }, { size: token.length });
        }
        return principal;
      })
      .finally(() => {
        if (this.#underWay.get(key) === verifying) this.#underWay.delete(key);
      });
    this.#underWay.set(key, verifying);
    return verifying;
  }
}

interface Known {
  readonly principal: Principal;
  readonly until: number;
}
