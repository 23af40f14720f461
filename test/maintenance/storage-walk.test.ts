import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inWalkOrder, StorageWalk } from '../../src/maintenance/storage-walk.js';
import { parseRepositoryName, type RepositoryName } from '../../src/reference/repository-name.js';
import { GatedDriver } from '../parts/gated-driver.js';
import { repositoryNamed } from '../parts/pushed-layer.js';

const live = new AbortController().signal;
const root = '/docker/registry/v2';
const hex = (digit: string) => digit.repeat(64);

function storageOf(repositories: readonly string[]): GatedDriver {
  const driver = new GatedDriver();
  driver.put(`${root}/blobs/sha256/aa/${hex('a')}/data`, 'x');
  for (const name of repositories) {
    driver.put(`${root}/repositories/${name}/_layers/sha256/${hex('a')}/link`, 'x');
    driver.put(`${root}/repositories/${name}/_manifests/tags/latest/current/link`, 'x');
  }
  return driver;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

function walkOf(driver: GatedDriver, foreign: string[] = []): StorageWalk {
  return new StorageWalk(driver, live, (kind) => foreign.push(kind));
}

const component = fc.stringMatching(/^[a-c]{1,2}([-.][a-c])?$/);
const name = fc
  .array(component, { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join('/'))
  .filter((text) => parseRepositoryName(text) !== undefined)
  .map((text) => text as RepositoryName);

describe('the repositories of a storage', () => {
  it('come in order, one before those below it', async () => {
    const driver = storageOf(['b', 'a/b', 'a', 'a-b/c', 'a/b/c', 'z/y/x']);
    expect(await all(walkOf(driver).repositories(undefined))).toEqual([
      'a',
      'a/b',
      'a/b/c',
      'a-b/c',
      'b',
      'z/y/x',
    ]);
  });

  it('any walk goes on after any repository, also one that is gone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { maxLength: 12 }), name, async (names, after) => {
        const walk = walkOf(storageOf(names));
        const inOrder = [...names].sort(inWalkOrder);
        expect(await all(walk.repositories(undefined))).toEqual(inOrder);
        expect(await all(walk.repositories(after))).toEqual(
          inOrder.filter((one) => inWalkOrder(one, after) > 0),
        );
      }),
      { numRuns: 150 },
    );
  });

  it('are none in a storage that nobody has pushed to', async () => {
    const driver = new GatedDriver();
    driver.put(`${root}/x`, 'x');
    expect(await all(walkOf(driver).repositories(undefined))).toEqual([]);
  });

  it('a directory whose name is none is passed over and told', async () => {
    const foreign: string[] = [];
    const driver = storageOf(['good', 'Upper/case', 'a--b', 'x..y']);
    expect(await all(walkOf(driver, foreign).repositories(undefined))).toEqual(['a--b', 'good']);
    expect(foreign).toEqual(['repository', 'repository']);
  });

  it('one without layers is none', async () => {
    const driver = storageOf(['good']);
    driver.put(`${root}/repositories/empty/_manifests/tags/latest/current/link`, 'x');
    expect(await all(walkOf(driver).repositories(undefined))).toEqual(['good']);
  });
});

describe('what they hold', () => {
  it('digests of every algorithm; what is none is told', async () => {
    const foreign: string[] = [];
    const driver = storageOf(['app']);
    const layers = `${root}/repositories/app/_layers`;
    driver.put(`${layers}/sha512/${'b'.repeat(128)}/link`, 'x');
    driver.put(`${layers}/sha256/short/link`, 'x');
    driver.put(`${layers}/md5/${'c'.repeat(32)}/link`, 'x');
    const digests = (await all(walkOf(driver, foreign).layers(repositoryNamed('app')))).flat();
    expect(digests.sort()).toEqual([`sha256:${hex('a')}`, `sha512:${'b'.repeat(128)}`]);
    expect(foreign).toEqual(['digest', 'digest']);
  });

  it('blobs, below their first two digits', async () => {
    const driver = storageOf([]);
    driver.put(`${root}/blobs/sha256/bb/${hex('b')}/data`, 'x');
    expect((await all(walkOf(driver).blobs())).flat().sort()).toEqual([
      `sha256:${hex('a')}`,
      `sha256:${hex('b')}`,
    ]);
  });

  it('a repository that is gone since its name was read has none', async () => {
    expect(await all(walkOf(storageOf([])).layers(repositoryNamed('gone')))).toEqual([]);
  });

  it('rule 11: a storage that fails is no empty one', async () => {
    const driver = storageOf(['app']);
    driver.outage = new Error('the storage is down');
    await expect(all(walkOf(driver).repositories(undefined))).rejects.toThrow('the storage is down');
    await expect(all(walkOf(driver).layers(repositoryNamed('app')))).rejects.toThrow('the storage is down');
  });
});
