import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EnvelopeError, isEnvelopeType, parseEnvelope } from '../../src/notifications/envelope.js';
import { isManifestType, parseManifest } from '../../src/notifications/manifest.js';
import { actions } from '../../src/notifications/notification-observer.js';

const digest = `sha256:${createHash('sha256').update('a layer').digest('hex')}`;
const repository = 'library/app';

function one(event: object) {
  const [first, ...rest] = parseEnvelope(JSON.stringify({ events: [event] }));
  expect(rest).toEqual([]);
  return first;
}

describe('an event', () => {
  const blob = { mediaType: 'application/octet-stream', digest, repository };

  it.each(['push', 'mount', 'delete'] as const)('%s of a blob is about that layer', (action) => {
    const read = one({ id: 'x', action, target: { ...blob, size: 7, url: 'http://registry' }, actor: {} });
    expect(read).toEqual({ kind: 'layer', action, target: { repository, digest } });
  });

  it.each([
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
    'application/vnd.docker.distribution.manifest.list.v2+json',
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.oci.image.index.v1+json',
  ])('push of %s is about what the manifest names', (mediaType) => {
    const target = { ...blob, mediaType };
    expect(one({ action: 'push', target })).toMatchObject({ kind: 'manifest' });
    // What was deleted cannot be read any more; as a layer it is not there.
    expect(one({ action: 'delete', target })).toMatchObject({ kind: 'layer' });
  });

  it.each([
    ['a pull', { action: 'pull', target: blob }, 'pull'],
    ['an unknown action', { action: 'signed', target: blob }, 'other'],
    ['a deleted tag', { action: 'delete', target: { repository, tag: 'latest' } }, 'delete'],
    ['a name that is none', { action: 'push', target: { ...blob, repository: '../etc' } }, 'push'],
    ['a digest that is none', { action: 'push', target: { ...blob, digest: 'sha256:42' } }, 'push'],
    ['an event without a target', { action: 'push' }, 'other'],
    ['a number', 42, 'other'],
  ])('%s is void', (_, event, action) => {
    expect(one(event as object)).toEqual({ kind: 'void', action });
  });
});

it('rule 18: what is no envelope is refused without a word of it', () => {
  for (const text of ['', '{', '[]', '{"events":{}}', '"secret"', 'null']) {
    expect(() => parseEnvelope(text)).toThrow(EnvelopeError);
    expect(() => parseEnvelope(text)).not.toThrow(/secret/);
  }
});

it('whatever comes is read, or is no envelope', () => {
  const anything = fc.oneof(
    fc.json(),
    fc.string(),
    fc.array(fc.json()).map((all) => `{"events":[${all}]}`),
  );
  fc.assert(
    fc.property(anything, (text) => {
      try {
        for (const event of parseEnvelope(text)) expect(actions).toContain(event.action);
      } catch (error) {
        expect(error).toBeInstanceOf(EnvelopeError);
      }
    }),
    { numRuns: 2000 },
  );
});

it('the envelopes of distribution 2 and 3 are known by their type', () => {
  expect(isEnvelopeType('application/vnd.docker.distribution.events.v1+json')).toBe(true);
  expect(isEnvelopeType('application/vnd.docker.distribution.events.v2+json; charset=utf-8')).toBe(true);
  for (const type of [undefined, 'application/json', 'application/vnd.docker.distribution.events.v1+jsonx']) {
    expect(isEnvelopeType(type)).toBe(false);
  }
});

describe('a manifest', () => {
  it('names its config and its layers, but not those that registries do not keep', () => {
    const foreign = { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', digest: 'c' };
    const text = JSON.stringify({ config: { digest: 'a' }, layers: [{ digest: 'b' }, foreign] });
    expect(parseManifest(text)).toEqual({ blobs: ['a', 'b'], manifests: undefined });
  });

  it('of schema 1 names its layers', () => {
    expect(parseManifest('{"fsLayers":[{"blobSum":"a"}]}')?.blobs).toEqual(['a']);
  });

  it('an index names manifests and no layers', () => {
    const index = parseManifest('{"manifests":[{"digest":"a"}]}');
    expect(index?.blobs).toEqual([]);
    expect(index?.manifests).toEqual([{ digest: 'a' }]);
  });

  it('anything else is none', () => {
    for (const text of ['{}', '[]', '1', '{"layers":1}']) expect(parseManifest(text)).toBeUndefined();
    expect(isManifestType('application/octet-stream')).toBe(false);
    expect(isManifestType(undefined)).toBe(false);
  });
});
