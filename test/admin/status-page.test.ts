/** DESIGN "Status page", in a real browser: chromium looks at a server of two workers under load. */
import { once } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { launchBrowser } from '../parts/browser.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { allReady, until, WorkersWorld } from '../parts/workers-world.js';

const repository = repositoryNamed('secret/project');
const images = join(import.meta.dirname, '..', '..', 'docs', 'images');
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

let world: WorkersWorld;
let server: LayercacheProcess;
let browser: Browser;
let digests: string[];
let load: { stop(): Promise<void> };

beforeAll(async () => {
  [world, browser] = await Promise.all([WorkersWorld.open(), launchBrowser()]);
  digests = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      pushLayer(world.tree, repository, Buffer.from(`layer ${index}`.repeat(5000))),
    ),
  );
  server = await LayercacheProcess.start(world.args);
  await allReady(server);
  load = underLoad();
});
afterAll(async () => {
  await load?.stop();
  await browser?.close();
  await server?.stop();
  await world?.close();
});

/** Steady calls of every kind, hits and misses. */
function underLoad(): { stop(): Promise<void> } {
  const clients = [1, 2, 3].map(() => new LayerClient(server.listen));
  let stopped = false;
  const loops = clients.map(async (client, number) => {
    for (let turn = number; !stopped; turn++) {
      const digest = digests[turn % digests.length] ?? '';
      await client.exists(repository, digest);
      await client.stat(repository, digest);
      if (turn % 3 === 0) await once(client.fetch(repository, digest).resume(), 'end');
      if (turn % 11 === 0) await client.exists(repository, digest, { seconds: 0n, nanos: 0 });
      if (turn % 17 === 0) await client.exists(repository, `sha256:${String(turn).padStart(64, '0')}`);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  });
  return {
    stop: async () => {
      stopped = true;
      await Promise.allSettled(loops);
      for (const client of clients) client.close();
    },
  };
}

/** The page in a window of its own, closed with the test; every request that it made. */
async function open(
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<{ page: Page; requests: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('console', (message) => {
    // A violation of the policy is told here.
    if (message.type() === 'error') requests.push(`console: ${message.text()}`);
  });
  await page.goto(`http://${server.admin}/`);
  return { page, requests };
}

const callsSoFar = async (page: Page) =>
  Number((await page.locator('#calls .note').innerText()).replace(/[^\d]/g, ''));

it('numbers and charts move under load, and no request leaves the origin', async () => {
  const { page, requests } = await open();
  expect(await page.locator('#status').innerText()).toBe('Ready');
  const before = await callsSoFar(page);
  const line = await page.locator('#chart-calls .stroke').first().getAttribute('d');
  await until(async () => (await callsSoFar(page)) > before);
  await until(async () => (await page.locator('#chart-calls .stroke').first().getAttribute('d')) !== line);
  expect(await page.locator('#workers tbody tr').count()).toBe(2);
  expect(await page.locator('#methods tbody th').allInnerTexts()).toEqual(['Exists', 'Fetch', 'Stat']);
  expect(requests.length).toBeGreaterThan(1);
  expect(requests.filter((url) => url !== `http://${server.admin}/` && !url.startsWith('data:'))).toEqual([]);
});

it('tells nothing of repositories, digests or secrets', async () => {
  const client = new LayerClient(server.listen);
  onTestFinished(() => client.close());
  const corrupt = digests[0] ?? '';
  const text = await (await fetch(`http://${server.admin}/`)).text();
  for (const secret of [repository, corrupt.slice(7), 'sha256:']) expect(text).not.toContain(secret);
});

it('without JavaScript it shows the numbers and charts of its moment', async () => {
  const { page } = await open({ javaScriptEnabled: false });
  expect(await callsSoFar(page)).toBeGreaterThan(0);
  expect(await page.locator('#chart-calls .stroke').first().getAttribute('d')).toMatch(/^M/);
  expect(await page.locator('#pause').isVisible()).toBe(false);
});

it('an update keeps focus and what was folded open; a pause stops it, all by the keyboard', async () => {
  const { page } = await open();
  await page.keyboard.press('Tab');
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the numbers');
  await page.locator('summary').focus();
  await page.keyboard.press('Enter');
  expect(await page.locator('#settings').getByText('--storage-timeout').isVisible()).toBe(true);
  const before = await callsSoFar(page);
  await until(async () => (await callsSoFar(page)) > before);
  expect(await page.locator('#settings').getAttribute('open')).toBe('');
  expect(await page.evaluate('document.activeElement.localName')).toBe('summary');
  await page.locator('#pause').focus();
  await page.keyboard.press('Space');
  expect(await page.locator('#pause').getAttribute('aria-pressed')).toBe('true');
  const paused = await page.locator('main').innerText();
  await page.waitForTimeout(4500);
  expect(await page.locator('main').innerText()).toBe(paused);
});

it.each([
  ['status-light', { colorScheme: 'light' }],
  ['status-dark', { colorScheme: 'dark' }],
  [
    'status-phone',
    { colorScheme: 'light', viewport: { width: 390, height: 844 }, isMobile: true, deviceScaleFactor: 2 },
  ],
] as const)(
  '%s is readable: axe-core finds nothing, nothing overflows',
  async (name, options) => {
    const { page } = await open(options);
    await page.evaluate(await readFile(axe, 'utf8'));
    const found = (await page.evaluate(
      "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes[0].html))",
    )) as string[];
    expect(found).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
    // The images of the docs; only asked for, so that a test run changes no file.
    if (process.env['SCREENSHOTS'] === undefined) return;
    await until(async () => (await callsSoFar(page)) > 5000);
    await mkdir(images, { recursive: true });
    await page.screenshot({ path: join(images, `${name}.png`) });
  },
  90_000,
);

it('says so when the server no longer answers', async () => {
  const other = await LayercacheProcess.start([`--storage=file://${world.tree.root}`]);
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const page = await context.newPage();
  await page.goto(`http://${other.admin}/`);
  expect(await page.locator('#lost').isVisible()).toBe(false);
  await other.stop();
  await until(() => page.locator('#lost').isVisible());
});
