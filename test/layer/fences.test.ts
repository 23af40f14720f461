import { expect, it, vi } from 'vitest';
import { UnverifiedError } from '../../src/layer/errors.js';
import { Fences, type Ticket } from '../../src/layer/fences.js';
import { Flight } from '../../src/layer/flight.js';
import { blobPath } from '../../src/reference/layout.js';
import { digestFor, LayerWorld, now, repositoryNamed } from '../parts/layer-world.js';

it('rule 12: a look at a blob, which lasts as long as its reader, keeps nothing of other digests', () => {
  const [own, other] = [digestFor('own'), digestFor('other')];
  const fences = new Fences();
  const ticket = fences.begin(undefined, own);
  fences.raiseMeta(other);
  expect(ticket.metaFenced(other)).toBe(false);
  fences.raiseMeta(own);
  expect(ticket.metaFenced(own)).toBe(true);
});

it('rule 12: a flight that is over is marked no more, and nothing is kept of it', () => {
  const [repository, digest] = [repositoryNamed('library/app'), digestFor('layer')];
  const fences = new Fences();
  const flight = new Flight(repository, digest, fences, () => {});
  flight.start();
  flight.end({ kind: 'found', layer: undefined });
  fences.raiseMembership(repository, digest);
  expect(flight.ticket?.membershipFenced).toBe(false);
});

it('rule 12: no call leaves a look behind that would be marked for good', async () => {
  const begun = vi.spyOn(Fences.prototype, 'begin');
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
    const tickets = begun.mock.results.map(({ value }) => value as Ticket);
    expect(tickets.length).toBeGreaterThanOrEqual(6);
    await info.remove(repository, digest);
    expect(tickets.filter((ticket) => ticket.metaFenced(digest))).toEqual([]);
  } finally {
    begun.mockRestore();
  }
});
