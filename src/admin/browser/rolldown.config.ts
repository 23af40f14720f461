/** The script of the status page, beside what else is generated: sources and build read it from there. */
import { defineConfig } from 'rolldown';

export default defineConfig({
  input: 'src/admin/browser/live.ts',
  platform: 'browser',
  output: { file: 'src/gen/status.js', format: 'esm', minify: true },
});
