import { join } from 'node:path';

/**
 * The Node that the npm scripts run, whichever runs the tests: what is written
 * in TypeScript for people to start runs on this one without a build.
 */
export const pinnedNode = join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'node');
