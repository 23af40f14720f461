import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** What a call is must not depend on what carries it. */
const overBothTransports = ['test/rpc/**/*.test.ts', 'test/e2e/**/*.test.ts', 'test/workers/**/*.test.ts'];

export default defineConfig({
  test: {
    globalSetup: [
      'test/parts/debian-packages.ts',
      'test/parts/floor-node.ts',
      'test/parts/azurite.ts',
      'test/parts/kubectl.ts',
    ],
    // Most tests wait for real parts more than they compute, so two files at once fit on any machine.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'direct', include: ['test/**/*.test.ts'] } },
      {
        extends: true,
        test: { name: 'grpc-js', include: overBothTransports, env: { LAYERCACHE_TRANSPORT: 'grpc-js' } },
      },
    ],
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/gen/**'],
      reporter: ['text', 'json-summary'],
    },
  },
});
