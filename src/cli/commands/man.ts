/** `layercache man`: the manual page, made from the same declarations as `--help`. */
import { command } from '../command.js';

export const man = command({
  name: 'man',
  summary: 'print the manual page: layercache man | man -l -',
  arguments: {},
  options: {},
  run: async ({ version }) => {
    const { manualPage } = await import('../manual-page.js');
    process.stdout.write(manualPage(version));
    return 0;
  },
});
