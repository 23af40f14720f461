import { expect, it, vi } from 'vitest';
import { UnverifiedError } from '../../src/layer/errors.js';
import { type Lease, Leases } from '../../src/layer/leases.js';
import { Lookup } from '../../src/layer/lookup.js';
import { blobPath } from '../../src/reference/layout.js';
import { digestFor, LayerWorld, now, repositoryNamed } from '../parts/layer-world.js';

it('rule 12: a lease on a blob, held as long as its reader, notes nothing of other digests', () => {
  const [own, other] = [digestFor('own'), digestFor('other')];
  const leases = new Leases();
  const lease = leases.grant(undefined, own);
  leases.revokeMeta(other);
  expect(lease.metaRevoked(other)).toBe(false);
  leases.revokeMeta(own);
  expect(lease.metaRevoked(own)).toBe(true);
});

it('rule 12: the lease of a lookup that has ended is no longer held, so it is not revoked', () => {
  const [repository, digest] = [repositoryNamed('library/app'), digestFor('layer')];
  const leases = new Leases();
  const lookup = new Lookup(repository, digest, leases, () => {});
  lookup.start();
  lookup.end({ kind: 'found', layer: undefined });
  leases.revokeMembership(repository, digest);
  expect(lookup.lease?.membershipRevoked).toBe(false);
});

it('rule 12: no call leaves a lease behind that is never released', async () => {
  const granted = vi.spyOn(Leases.prototype, 'grant');
  try {
    const world = new LayerWorld();
    const { repository, info } = world;
    const { signal } = now();
    const digest = world.push('layer');
    expect(await world.read(digest)).toBe('layer');
    await (await world.fetch(digest)).close();
    await info.add(repository, digest, signal);
    await info.setMeta(digest, { path: blobPath(digest), length: 5 }, signal);
    await expect(info.add(repository, digestFor('absent'), signal)).rejects.toThrow(UnverifiedError);
    const held = granted.mock.results.map(({ value }) => value as Lease);
    expect(held.length).toBeGreaterThanOrEqual(6);
    await info.remove(repository, digest);
    expect(held.filter((lease) => lease.metaRevoked(digest))).toEqual([]);
  } finally {
    granted.mockRestore();
  }
});
