/** The arguments that several commands take. */
import { z } from 'zod';
import { type Digest, parseDigest } from '../reference/digest.js';
import { parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import type { ArgumentSpec } from './command.js';

export const repositoryArgument: ArgumentSpec<RepositoryName> = {
  placeholder: 'REPOSITORY',
  help: 'a repository, such as library/alpine',
  schema: checked(parseRepositoryName, 'must be the name of a repository, such as library/alpine'),
};

export const digestArgument: ArgumentSpec<Digest> = {
  placeholder: 'DIGEST',
  help: "a layer's digest, such as sha256: and 64 hexadecimal digits",
  schema: checked(
    parseDigest,
    'must be a digest: sha256:, sha384: or sha512: and lower-case hexadecimal digits',
  ),
};

function checked<T>(parse: (text: string) => T | undefined, problem: string): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue(problem);
    return z.NEVER;
  });
}
