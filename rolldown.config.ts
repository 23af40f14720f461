/**
 * The program in a few files: what every start needs is read from one, not
 * from five hundred, and a start takes half the time. What only some
 * configurations load stays a package, loaded when it is asked for.
 */
import { defineConfig } from 'rolldown';

const loadedWhenAsked =
  /^(cockatiel|ioredis|jose|pino-pretty|@aws-sdk\/.+|@azure\/.+|@smithy\/.+|@opentelemetry\/(exporter-metrics-.+|sdk-node|sdk-trace))$/;

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
    entryFileNames: '[name].js',
    // As deep as the modules themselves: they look for files beside them.
    chunkFileNames: 'bundle/[name].js',
  },
});
