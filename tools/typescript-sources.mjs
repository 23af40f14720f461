// Lets Node run the tools as they are written: of the sources what the build made of them,
// of everything else beside them the TypeScript itself.
import { existsSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

const sources = new URL('../src/', import.meta.url).href;
const product = new URL('../dist/', import.meta.url).href;

registerHooks({
  resolve(specifier, context, next) {
    const isOurs = specifier.startsWith('.') && context.parentURL?.endsWith('.ts');
    if (!isOurs || !specifier.endsWith('.js')) return next(specifier, context);
    const { href } = new URL(specifier, context.parentURL);
    if (href.startsWith(sources)) return next(product + href.slice(sources.length), context);
    const typed = href.replace(/\.js$/, '.ts');
    return next(existsSync(fileURLToPath(typed)) ? typed : href, context);
  },
});
