/** The lookup link → blob → stat, over a driver that is asked in turn and one that is asked at once. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { LayerUnknownError, StorageUnavailableError } from '../../src/layer/errors.js';
import { UpstreamLayerService } from '../../src/layer/upstream-layer-service.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { GatedDriver } from '../parts/gated-driver.js';
import { anyAge, digestFor, repositoryNamed, settled } from '../parts/layer-world.js';

const repository = repositoryNamed('library/app');
const bytes = 'layer';
const digest = digestFor(bytes);
const alias = digestFor(bytes, 'sha512');
const failure = new StorageError('down, says the test');

let driver: GatedDriver;
let layers: UpstreamLayerService;
beforeEach(() => {
  driver = new GatedDriver();
  layers = new UpstreamLayerService(driver);
});

function push(): void {
  driver.put(blobPath(digest), bytes);
  driver.put(linkPath(repository, digest), digest);
}

const stat = (asked: Digest, options = anyAge()) => layers.stat(repository, asked, options);
const link = `readSmall ${linkPath(repository, digest)}`;
const blob = `stat ${blobPath(digest)}`;

describe('a lookup in a storage of this machine', () => {
  it('asks for the blob once the link has named it, and not without a link', async () => {
    const gate = driver.gates.hold('readSmall');
    const missing = stat(digest);
    await gate.reached;
    await settled();
    gate.open();
    await expect(missing).rejects.toThrow(LayerUnknownError);
    expect(driver.calls).toEqual([link]);
    push();
    await stat(digest);
    expect(driver.calls).toEqual([link, link, blob]);
  });
});

describe('a lookup in a remote storage', () => {
  beforeEach(() => {
    driver.remote = true;
  });

  it('asks for link and blob at once', async () => {
    push();
    const gates = [driver.gates.hold('readSmall'), driver.gates.hold('stat')];
    const answer = stat(digest);
    for (const gate of gates) await gate.reached;
    expect(driver.calls).toEqual([link, blob]);
    for (const gate of gates) gate.open();
    expect(await answer).toMatchObject({ digest, length: bytes.length });
    expect(driver.calls).toEqual([link, blob]);
  });

  it.each(['is absent', 'fails'])(
    'is a no without a link, and the blob that %s later is nobody’s',
    async (how) => {
      const gate = driver.gates.hold('stat');
      await expect(stat(digest)).rejects.toThrow(LayerUnknownError);
      if (how === 'fails') gate.fail(failure);
      else gate.open();
      // An error that nobody handles would fail this run.
      await settled();
      expect(driver.calls).toEqual([link, blob]);
    },
  );

  it('waits for the link when the blob is answered first', async () => {
    push();
    const gate = driver.gates.hold('readSmall');
    const answer = stat(digest);
    await gate.reached;
    await settled();
    gate.open();
    expect(await answer).toMatchObject({ digest });
  });

  it('rule 9: follows an alias, whatever became of the question about its own blob', async () => {
    push();
    driver.put(linkPath(repository, alias), digest);
    const own = driver.gates.hold('stat');
    const answer = stat(alias);
    await own.reached;
    expect(await answer).toMatchObject({ digest, length: bytes.length });
    own.fail(failure);
    await settled();
    expect(driver.calls).toEqual([
      `readSmall ${linkPath(repository, alias)}`,
      `stat ${blobPath(alias)}`,
      blob,
    ]);
  });

  it('rule 11: a blob that fails is no absence while the link is there', async () => {
    push();
    const gate = driver.gates.hold('stat');
    const answer = stat(digest);
    await gate.reached;
    gate.fail(failure);
    await expect(answer).rejects.toThrow(StorageUnavailableError);
  });

  it('cancels both questions with its caller', async () => {
    push();
    driver.gates.hold('readSmall');
    const gate = driver.gates.hold('stat');
    const caller = new AbortController();
    const answer = stat(digest, { signal: caller.signal, maxAge: undefined });
    await gate.reached;
    caller.abort(failure);
    await expect(answer).rejects.toThrow(StorageUnavailableError);
    // Neither is waited for any more: the next lookup finds both gates behind it.
    expect(await stat(digest)).toMatchObject({ digest });
  });

  it('asks one after the other while too many unneeded answers are awaited', async () => {
    const gates = Array.from({ length: 128 }, () => driver.gates.hold('stat'));
    for (const _ of gates) await expect(stat(digest)).rejects.toThrow(LayerUnknownError);
    expect(driver.count('stat')).toBe(128);
    await expect(stat(digest)).rejects.toThrow(LayerUnknownError);
    expect(driver.count('stat')).toBe(128);
    for (const gate of gates) gate.open();
    await settled();
    await expect(stat(digest)).rejects.toThrow(LayerUnknownError);
    expect(driver.count('stat')).toBe(129);
  });
});

describe('whatever the storage holds and in whichever order it answers', () => {
  const contents = {
    nothing: undefined,
    'its own digest': alias,
    'the canonical digest': digest,
    'another layer of its algorithm': digestFor('another layer', 'sha512'),
    rubbish: 'rubbish',
    'more than a link': 'x'.repeat(5_000),
  };
  const blobs = { nothing: undefined, bytes, 'no bytes': '' };
  const failing = fc.constantFrom('nothing', 'the link', 'its own blob', 'the canonical blob');

  it('the answer at once is the answer in turn', async () => {
    const scene = fc.record({
      linked: fc.constantFrom(...(Object.keys(contents) as (keyof typeof contents)[])),
      own: fc.constantFrom(...(Object.keys(blobs) as (keyof typeof blobs)[])),
      canonical: fc.constantFrom(...(Object.keys(blobs) as (keyof typeof blobs)[])),
      failing,
      blobFirst: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(scene, async ({ linked, own, canonical, failing: broken, blobFirst }) => {
        const outcomes: unknown[] = [];
        for (const remote of [false, true]) {
          const { [linked]: content } = contents;
          const storage = new BreakingDriver(broken);
          storage.remote = remote;
          if (content !== undefined) storage.put(linkPath(repository, alias), content);
          if (blobs[own] !== undefined) storage.put(blobPath(alias), blobs[own]);
          if (blobs[canonical] !== undefined) storage.put(blobPath(digest), blobs[canonical]);
          const late = storage.gates.hold(remote && !blobFirst ? 'stat' : 'readSmall');
          const answer = new UpstreamLayerService(storage).stat(repository, alias, anyAge()).then(
            ({ digest: found, length }) => ({ found, length }),
            (error: unknown) => String(error),
          );
          await settled();
          late.open();
          outcomes.push(await answer);
        }
        expect(outcomes[1]).toEqual(outcomes[0]);
      }),
      { numRuns: 500 },
    );
  });

  class BreakingDriver extends GatedDriver {
    readonly #broken: string;

    constructor(broken: string) {
      super();
      const paths: Record<string, string> = {
        'the link': linkPath(repository, alias),
        'its own blob': blobPath(alias),
        'the canonical blob': blobPath(digest),
      };
      this.#broken = paths[broken] ?? '';
    }

    override async stat(path: string, signal: AbortSignal) {
      const answer = await super.stat(path, signal);
      if (path === this.#broken) throw failure;
      return answer;
    }

    override async readSmall(path: string, signal: AbortSignal) {
      const answer = await super.readSmall(path, signal);
      if (path === this.#broken) throw failure;
      return answer;
    }
  }
});
