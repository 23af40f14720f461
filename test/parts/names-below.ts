/** The next components behind `path` of the files that lie below it. */
export function namesBelow(path: string, files: Iterable<string>): Set<string> {
  const names = new Set<string>();
  for (const file of files)
    if (file.startsWith(`${path}/`)) names.add(file.slice(path.length + 1).split('/', 1)[0] ?? '');
  return names;
}
