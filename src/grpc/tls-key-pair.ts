/** The server's certificate and key, and the authorities of its clients; PEM. */
export interface TlsKeyPair {
  /** The certificate, followed by what leads from it to a root that clients know. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Authorities of client certificates; with them a client without one is refused. */
  readonly clientCa: Buffer | undefined;
}

/** Certificate, key or authorities cannot be used; the message says why, in one line, and quotes nothing. */
export class TlsKeyPairError extends Error {
  override readonly name = 'TlsIdentityError';
  /** @param part which of it: the authorities, or certificate and key */
  constructor(
    readonly part: 'clientCa' | 'pair',
    cause: unknown,
  ) {
    super(reasonOf(cause), { cause });
  }
}

// OpenSSL's own messages help no operator.
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'they cannot be used';
  switch ('code' in cause ? cause.code : undefined) {
    case undefined:
      return cause.message;
    case 'ERR_OSSL_PEM_NO_START_LINE':
      return 'there is no certificate in PEM form';
    case 'ERR_OSSL_X509_KEY_VALUES_MISMATCH':
      return "the key is not the certificate's";
    case 'ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED':
    case 'ERR_MISSING_PASSPHRASE':
      return 'the key is encrypted';
    default:
      return `they cannot be used (${'code' in cause ? cause.code : ''})`;
  }
}
