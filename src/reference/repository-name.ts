/**
 * The name of a repository below its registry, checked once at the edge and
 * trusted inside: the path grammar of github.com/distribution/reference.
 */
export type RepositoryName = string & { readonly __repositoryName: unique symbol };

/** Longest name, in characters, as distribution/reference has it. */
export const maxRepositoryNameLength = 255;

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const grammar = new RegExp(`^${component}(?:/${component})*$`);

/** The text as a repository name, or `undefined` when it does not have the grammar. */
export function parseRepositoryName(text: string): RepositoryName | undefined {
  // The length goes first: it bounds what the expression may have to walk.
  return text.length <= maxRepositoryNameLength && grammar.test(text) ? (text as RepositoryName) : undefined;
}
