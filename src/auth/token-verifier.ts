import type { JWSAlgorithm, JWTVerifyOptions } from 'jose';
import { z } from 'zod';
import { type Access, AccessError, TokenInvalidError } from './principal.js';
import type { SigningKeys } from './signing-keys.js';

/** The issuer of the tokens, and their audience. */
export interface TokenSettings {
  /** `iss`: the issuer. */
  readonly issuer: string;
  /** `aud`: the service that a token must be for. */
  readonly service: string;
}

/** What a token that was verified says. */
export interface VerifiedToken {
  readonly access: readonly Access[];
  /** Milliseconds since the epoch from which on it is not valid, the skew of clocks included. */
  readonly until: number;
}

/**
 * Only those with a public key: what we verify with is known to everybody.
 * The key must be of the algorithm's kind.
 */
const algorithms: JWSAlgorithm[] = [
  ...(['ES256', 'ES384', 'ES512'] as const),
  ...(['RS256', 'RS384', 'RS512'] as const),
  ...(['PS256', 'PS384', 'PS512'] as const),
  ...(['EdDSA', 'Ed25519'] as const),
];

/** Seconds by which clocks may disagree, as the registry has it. */
const clockSkew = 60;

/** Characters; longer ones are not looked at. */
export const maxTokenLength = 16 << 10;

const accessClaim = z
  .array(z.object({ type: z.string(), name: z.string(), actions: z.array(z.string()) }))
  .nullish();

/** Verifies the registry's bearer tokens (distribution's token specification). */
export class TokenVerifier {
  readonly #jose: typeof import('jose');
  readonly #keys: SigningKeys;
  readonly #options: JWTVerifyOptions;

  private constructor(jose: typeof import('jose'), keys: SigningKeys, { issuer, service }: TokenSettings) {
    this.#jose = jose;
    this.#keys = keys;
    this.#options = {
      algorithms,
      issuer,
      audience: service,
      clockTolerance: clockSkew,
      requiredClaims: ['exp'],
    };
  }

  /** Loads the library, which only a server that takes tokens needs. */
  static async load(keys: SigningKeys, settings: TokenSettings): Promise<TokenVerifier> {
    return new TokenVerifier(await import('jose'), keys, settings);
  }

  /** Rejects with a `TokenInvalidError`, or a `KeysUnavailableError` when its key cannot be fetched. */
  async verify(token: string): Promise<VerifiedToken> {
    if (token.length > maxTokenLength) throw new TokenInvalidError('the token is too long');
    try {
      const { payload } = await this.#jose.jwtVerify(
        token,
        ({ kid, x5c }) => this.#keys.keyFor({ kid, x5c }),
        this.#options,
      );
      const access = accessClaim.parse(payload['access']) ?? [];
      return { access, until: (Number(payload.exp) + clockSkew) * 1000 };
    } catch (error) {
      if (error instanceof AccessError) throw error;
      throw new TokenInvalidError(this.#said(error), { cause: error });
    }
  }

  /** The client learns which claim is not accepted, and nothing of the expected value. */
  #said(error: unknown): string {
    const { JWTExpired, JWTClaimValidationFailed } = this.#jose.errors;
    if (error instanceof JWTExpired) return 'the token has expired';
    if (error instanceof JWTClaimValidationFailed && /^(iss|aud|exp|nbf)$/.test(error.claim)) {
      return `the token's ${error.claim} is not accepted`;
    }
    return 'the token cannot be verified';
  }
}
