/**
 * The suite that every `LayerInfoCache` passes: the checklist of distribution
 * v2.0's `registry/storage/cache/cachecheck/suite.go`, and what our contract
 * adds. Strings are any strings here, as they are in the original.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LayerInfoCache } from '../../src/cache/layer-info-cache.js';

/** Registers the suite. `open` gives an empty cache; the suite closes it. */
export function layerInfoCacheSuite(name: string, open: () => Promise<LayerInfoCache>): void {
  describe(`${name}: the contract of a layer-info cache`, () => {
    let cache: LayerInfoCache;

    beforeEach(async () => {
      cache = await open();
    });

    afterEach(async () => {
      await cache.close();
    });

    const meta = { path: '/some/path', length: 1234 };
    const other = { path: '/another/path', length: 5678 };

    it('refuses an empty repository', async () => {
      await expect(cache.contains('', 'sha256:a')).rejects.toThrow(TypeError);
      await expect(cache.containsMany('', ['sha256:a'])).rejects.toThrow(TypeError);
      await expect(cache.containsMany('', [])).rejects.toThrow(TypeError);
      await expect(cache.lookup('', 'sha256:a')).rejects.toThrow(TypeError);
      await expect(cache.add('', 'sha256:a')).rejects.toThrow(TypeError);
      await expect(cache.record('', 'sha256:a', 'sha256:a', meta)).rejects.toThrow(TypeError);
      await expect(cache.evict('', ['sha256:a'])).rejects.toThrow(TypeError);
      await expect(cache.remove('', 'sha256:a')).rejects.toThrow(TypeError);
    });

    it('refuses an empty digest', async () => {
      await expect(cache.contains('repo', '')).rejects.toThrow(TypeError);
      await expect(cache.containsMany('repo', ['sha256:a', ''])).rejects.toThrow(TypeError);
      await expect(cache.lookup('repo', '')).rejects.toThrow(TypeError);
      await expect(cache.add('repo', '')).rejects.toThrow(TypeError);
      await expect(cache.record('repo', '', 'sha256:a', meta)).rejects.toThrow(TypeError);
      await expect(cache.record('repo', 'sha256:a', '', meta)).rejects.toThrow(TypeError);
      await expect(cache.meta('')).rejects.toThrow(TypeError);
      await expect(cache.setMeta('', meta)).rejects.toThrow(TypeError);
      await expect(cache.evict('repo', ['sha256:a', ''])).rejects.toThrow(TypeError);
      await expect(cache.evictMeta('')).rejects.toThrow(TypeError);
      await expect(cache.remove('repo', '')).rejects.toThrow(TypeError);
    });

    it('refuses an empty path', async () => {
      await expect(cache.setMeta('sha256:a', { path: '', length: 1 })).rejects.toThrow(TypeError);
      await expect(cache.record('repo', 'sha256:a', 'sha256:a', { path: '', length: 1 })).rejects.toThrow(
        TypeError,
      );
    });

    it('writes nothing of what it refuses', async () => {
      await cache.record('repo', 'sha256:a', 'sha256:a', { path: '', length: 1 }).catch(() => {});
      await cache.record('repo', 'sha256:a', '', meta).catch(() => {});
      await cache.add('repo', 'sha256:b');
      await cache.evict('repo', ['sha256:b', '']).catch(() => {});
      expect(await cache.containsMany('repo', ['sha256:a', 'sha256:b'])).toEqual([false, true]);
    });

    it('does not know what it was not told', async () => {
      expect(await cache.contains('repo', 'sha256:a')).toBe(false);
      expect(await cache.meta('sha256:a')).toBeUndefined();
      expect(await cache.lookup('repo', 'sha256:a')).toEqual({ member: false, meta: undefined });
      expect(await cache.containsMany('repo', ['sha256:a'])).toEqual([false]);
    });

    it('finds a member, whose metadata is unknown all the same', async () => {
      await cache.add('repo', 'sha256:a');
      expect(await cache.contains('repo', 'sha256:a')).toBe(true);
      expect(await cache.meta('sha256:a')).toBeUndefined();
      expect(await cache.lookup('repo', 'sha256:a')).toEqual({ member: true, meta: undefined });
    });

    it('gives back the metadata it was given, which makes nobody a member', async () => {
      await cache.setMeta('sha256:a', meta);
      expect(await cache.meta('sha256:a')).toEqual(meta);
      expect(await cache.lookup('repo', 'sha256:a')).toEqual({ member: false, meta });
    });

    it('overwrites metadata', async () => {
      await cache.setMeta('sha256:a', meta);
      await cache.setMeta('sha256:a', other);
      expect(await cache.meta('sha256:a')).toEqual(other);
    });

    it.each([0, 1, Number.MAX_SAFE_INTEGER])('keeps a length of %d', async (length) => {
      await cache.setMeta('sha256:a', { path: '/p', length });
      expect(await cache.meta('sha256:a')).toEqual({ path: '/p', length });
    });

    it('keeps what it was given, not what becomes of it', async () => {
      const given = { path: '/p', length: 1 };
      await cache.setMeta('sha256:a', given);
      given.length = 2;
      expect(await cache.meta('sha256:a')).toEqual({ path: '/p', length: 1 });
    });

    it('records membership and metadata at once', async () => {
      await cache.record('repo', 'sha256:a', 'sha256:a', meta);
      expect(await cache.lookup('repo', 'sha256:a')).toEqual({ member: true, meta });
    });

    it('records an alias as the member and its canonical digest as the metadata', async () => {
      await cache.record('repo', 'sha512:alias', 'sha256:canonical', meta);
      expect(await cache.lookup('repo', 'sha512:alias')).toEqual({ member: true, meta: undefined });
      expect(await cache.lookup('repo', 'sha256:canonical')).toEqual({ member: false, meta });
    });

    it('records a membership alone, and leaves the metadata as they were', async () => {
      await cache.setMeta('sha256:a', meta);
      await cache.record('repo', 'sha256:a', 'sha256:a', undefined);
      await cache.record('repo', 'sha256:b', 'sha256:b', undefined);
      expect(await cache.lookup('repo', 'sha256:a')).toEqual({ member: true, meta });
      expect(await cache.lookup('repo', 'sha256:b')).toEqual({ member: true, meta: undefined });
    });

    it('answers many in the order of the question, repetitions included', async () => {
      await cache.add('repo', 'sha256:b');
      await cache.add('repo', 'sha256:d');
      const digests = ['sha256:d', 'sha256:a', 'sha256:b', 'sha256:c', 'sha256:d', 'sha256:a'];
      expect(await cache.containsMany('repo', digests)).toEqual([true, false, true, false, true, false]);
      expect(await cache.containsMany('repo', [])).toEqual([]);
    });

    it('answers a thousand at once', async () => {
      const digests = Array.from({ length: 1000 }, (_, index) => `sha256:${index}`);
      await Promise.all(digests.filter((_, index) => index % 3 === 0).map((d) => cache.add('repo', d)));
      expect(await cache.containsMany('repo', digests)).toEqual(digests.map((_, index) => index % 3 === 0));
    });

    it('keeps repositories apart, one whose name begins another included', async () => {
      await cache.add('library', 'sha256:a');
      await cache.add('library/nginx', 'sha256:b');
      expect(await cache.containsMany('library', ['sha256:a', 'sha256:b'])).toEqual([true, false]);
      expect(await cache.containsMany('library/nginx', ['sha256:a', 'sha256:b'])).toEqual([false, true]);
    });

    it('keeps keys apart whatever their characters', async () => {
      await cache.add('a', 'b:c');
      await cache.add('1:x', 'y');
      await cache.setMeta('1:xy', meta);
      expect(await cache.contains('a:b', 'c')).toBe(false);
      expect(await cache.contains('ab', ':c')).toBe(false);
      expect(await cache.contains('1', ':xy')).toBe(false);
      expect(await cache.contains('x', 'y')).toBe(false);
      expect(await cache.contains('1:x', 'y')).toBe(true);
      expect(await cache.meta('a')).toBeUndefined();
    });

    it('evicts memberships of that repository alone, and no metadata', async () => {
      for (const digest of ['sha256:a', 'sha256:b', 'sha256:c'])
        await cache.record('repo', digest, digest, meta);
      await cache.add('other', 'sha256:a');
      await cache.evict('repo', ['sha256:a', 'sha256:c', 'sha256:unknown']);
      expect(await cache.containsMany('repo', ['sha256:a', 'sha256:b', 'sha256:c'])).toEqual([
        false,
        true,
        false,
      ]);
      expect(await cache.lookup('other', 'sha256:a')).toEqual({ member: true, meta });
      await cache.evict('repo', []);
      expect(await cache.contains('repo', 'sha256:b')).toBe(true);
    });

    it('evicts metadata, and no membership', async () => {
      await cache.record('repo', 'sha256:a', 'sha256:a', meta);
      await cache.setMeta('sha256:b', other);
      await cache.evictMeta('sha256:a');
      await cache.evictMeta('sha256:unknown');
      expect(await cache.lookup('repo', 'sha256:a')).toEqual({ member: true, meta: undefined });
      expect(await cache.meta('sha256:b')).toEqual(other);
    });

    it('rule 14: removes the membership and with it the metadata', async () => {
      await cache.record('repo', 'sha256:a', 'sha256:a', meta);
      await cache.record('repo', 'sha256:b', 'sha256:b', other);
      await cache.remove('repo', 'sha256:a');
      expect(await cache.lookup('repo', 'sha256:a')).toEqual({ member: false, meta: undefined });
      expect(await cache.lookup('repo', 'sha256:b')).toEqual({ member: true, meta: other });
      await cache.remove('repo', 'sha256:a');
    });

    it('rule 14: forgets no metadata for a repository that is no member', async () => {
      await cache.record('owner', 'sha256:a', 'sha256:a', meta);
      await cache.remove('other-repository', 'sha256:a');
      expect(await cache.lookup('owner', 'sha256:a')).toEqual({ member: true, meta });
    });

    it('serves many at a time', async () => {
      const rounds = Array.from({ length: 200 }, (_, index) => index);
      await Promise.all(
        rounds.map(async (index) => {
          const digest = `sha256:${index}`;
          const mine = { path: `/path/${index}`, length: index };
          await cache.record('shared', digest, digest, mine);
          expect(await cache.lookup('shared', digest)).toEqual({ member: true, meta: mine });
          if (index % 2 === 0) await cache.remove('shared', digest);
        }),
      );
      const answers = await cache.containsMany(
        'shared',
        rounds.map((index) => `sha256:${index}`),
      );
      expect(answers).toEqual(rounds.map((index) => index % 2 === 1));
    });

    it('closes twice', async () => {
      await cache.close();
    });
  });
}
