import { onTestFinished } from 'vitest';
import { LayercacheProcess } from './layercache-process.js';

/** Starts a server for the test that calls, and stops it when that has finished. */
export async function startServer(
  ...parameters: Parameters<typeof LayercacheProcess.start>
): Promise<LayercacheProcess> {
  const server = await LayercacheProcess.start(...parameters);
  onTestFinished(() => server.stop());
  return server;
}
