import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A Node to whom the modes of files apply even when this is root; its script lies in the folder. */
export async function withoutPrivilege(folder: string): Promise<string> {
  if (process.getuid?.() !== 0) return process.execPath;
  const script = join(folder, 'node');
  const drop = '-dac_override,-dac_read_search';
  await writeFile(
    script,
    `#!/bin/sh\nexec setpriv --inh-caps=${drop} --bounding-set=${drop} '${process.execPath}' "$@"\n`,
    { mode: 0o755 },
  );
  return script;
}
