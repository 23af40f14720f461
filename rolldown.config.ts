/**
 * The program in a few files: what every start needs is read from one, not
 * from five hundred, and a start takes half the time. What only some
 * configurations load stays a package, loaded when it is asked for.
 */
import { defineConfig, type OutputBundle } from 'rolldown';

const loadedWhenAsked =
  /^(cockatiel|ioredis|jose|pino-pretty|@aws-sdk\/.+|@azure\/.+|@smithy\/.+|@opentelemetry\/(exporter-metrics-.+|sdk-node|sdk-trace))$/;

/**
 * V8 keeps the source of a script for as long as it is loaded, in two bytes a
 * character if there is one beyond ASCII. So comments go, and what is left of
 * such characters, in strings, is escaped: 3 MiB of an idle server's memory.
 */
const inAscii = {
  name: 'in-ascii',
  generateBundle(_: unknown, files: OutputBundle) {
    for (const file of Object.values(files)) {
      if (file.type === 'chunk') file.code = file.code.replace(/[^\0-\x7f]/g, escaped);
    }
  },
};

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

export default defineConfig({
  input: {
    layercache: 'dist/main.js',
    'layercache-worker': 'dist/workers/worker-process.js',
    'layercache-examiner': 'dist/cli/examiner-thread.js',
  },
  platform: 'node',
  external: [/^node:/, loadedWhenAsked],
  output: {
    dir: 'dist',
    format: 'esm',
    comments: false,
    plugins: [inAscii],
    entryFileNames: '[name].js',
    // As deep as the modules themselves: they look for files beside them.
    chunkFileNames: 'bundle/[name].js',
  },
});
