/** Debian's chromium, headless. */
import { type Browser, chromium } from 'playwright-core';

/** Whoever launches it closes it. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    // As root, and without a GPU: the pages are our own.
    args: ['--no-sandbox', '--disable-gpu', '--force-color-profile=srgb'],
  });
}
