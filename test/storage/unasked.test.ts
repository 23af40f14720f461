import { registerHooks } from 'node:module';
import { expect, it, vi } from 'vitest';

// Alone in its file: what another test had loaded would not be seen again.
it('file:// loads no object store, s3:// not Azure, and azblob:// brings its own', async () => {
  const loaded: string[] = [];
  const hooks = registerHooks({
    load: (url, context, next) => {
      loaded.push(url);
      return next(url, context);
    },
  });
  const seen = (scope: string) => loaded.some((url) => url.includes(`/node_modules/${scope}/`));
  const { openStorage } = await import('../../src/storage/open.js');
  const options = { timeoutMs: 1000 };
  try {
    await (await openStorage('file:///', options)).close();
    expect([seen('@aws-sdk'), seen('@smithy'), seen('@azure')]).toEqual([false, false, false]);
    await (await openStorage('s3://bucket?region=us-east-1', options)).close();
    expect([seen('@aws-sdk'), seen('@smithy'), seen('@azure')]).toEqual([true, true, false]);
    vi.stubEnv('AZURE_STORAGE_KEY', 'a2V5');
    await (await openStorage('azblob://account/container', options)).close();
    expect(seen('@azure')).toBe(true);
  } finally {
    vi.unstubAllEnvs();
    hooks.deregister();
  }
});
