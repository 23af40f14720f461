import { registerHooks } from 'node:module';
import { expect, it } from 'vitest';

// Alone in its file: what another test had loaded would not be seen again.
it('file:// loads no object store, and s3:// no other', async () => {
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
  } finally {
    hooks.deregister();
  }
});
