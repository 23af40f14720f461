/** The soak's oracle: what is right passes, and each kind of wrong answer is seen. */
import { status } from '@grpc/grpc-js';
import { beforeEach, describe, expect, it } from 'vitest';
import { blobPath } from '../../src/reference/layout.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import { absentBlob, GroundTruth, type Link, type Name } from '../../tools/soak/ground-truth.js';
import { lateWriteMs, Oracle, type Question } from '../../tools/soak/oracle.js';
import { SeededRandom } from '../../tools/soak/seeded-random.js';
import { repositoryNamed } from '../parts/pushed-layer.js';

const home = repositoryNamed('soak/home');
const other = repositoryNamed('soak/other');

let truth: GroundTruth;
let oracle: Oracle;
let name: Name;
let link: Link;

/** Both began long ago and are not known to end. */
beforeEach(() => {
  truth = new GroundTruth([other, home], [1000], new SeededRandom(1, 'layers'));
  oracle = new Oracle(truth);
  const [first] = truth.names;
  const at = first?.links.get(home);
  if (first === undefined || at === undefined) throw new Error('the layer is not at home where it should be');
  name = first;
  link = at;
  blobIs('good', 0);
  linkIs('good', 0);
});

function blobIs(kind: 'good' | 'absent' | 'flipped' | 'cut', at: number): void {
  const { content } = name;
  const flipped = Buffer.from(content.bytes);
  flipped[500] = (flipped[500] ?? 0) ^ 1;
  const states = {
    good: { kind: 'good', bytes: content.bytes },
    absent: absentBlob,
    flipped: { kind: 'flipped', bytes: flipped },
    cut: { kind: 'cut', bytes: content.bytes.subarray(0, 600) },
  } as const;
  if (kind === 'flipped' || kind === 'cut') content.wasDamaged = true;
  if (kind !== 'absent') content.lengths.add(states[kind].bytes.length);
  content.blob.change(states[kind], at)(at);
}

function linkIs(state: 'good' | 'absent' | 'damaged', at: number): void {
  if (state === 'good') link.wasGood = true;
  link.state.change(state, at)(at);
}

function asked(begun: number, ended: number, more: Partial<Question> = {}): Question {
  const question = { server: 'near', usesRedis: true, repository: home, name, maxAgeMs: undefined };
  return { ...question, begun, ended, ...more };
}

describe('a no', () => {
  it('of a layer that is there the whole time is wrong', () => {
    expect(oracle.absent(asked(100, 110))).toBe('a present layer is reported missing');
    expect(oracle.failed(asked(100, 110), status.NOT_FOUND, false)).toContain('reported missing');
  });

  it('is right when the layer was gone at some moment of the call, or never there', () => {
    linkIs('absent', 105);
    expect(oracle.absent(asked(100, 110))).toBeUndefined();
    linkIs('good', 107);
    expect(oracle.absent(asked(100, 110))).toBeUndefined();
    expect(oracle.absent(asked(110, 120))).toContain('reported missing');
    expect(oracle.absent(asked(110, 120, { repository: other }))).toBeUndefined();
    blobIs('absent', 130);
    expect(oracle.absent(asked(140, 150))).toBeUndefined();
  });

  it('rule 11: of a layer whose volume is away is wrong, UNAVAILABLE is right', () => {
    truth.root.change('away', 100)(100);
    expect(oracle.absent(asked(110, 120))).toContain('reported missing');
    expect(oracle.failed(asked(110, 120), status.UNAVAILABLE, false)).toBeUndefined();
    expect(oracle.unexplained).toBe(0);
  });
});

describe('a yes', () => {
  it('for a repository that never had the layer is wrong, at any age', () => {
    expect(oracle.present(asked(100, 110, { repository: other }))).toContain('never had');
  });

  it('rule 15: older than its max_age is wrong, and as old as that is right', () => {
    linkIs('absent', 1000);
    expect(oracle.present(asked(1500, 1510, { maxAgeMs: 600 }))).toBeUndefined();
    expect(oracle.present(asked(1500, 1510, { maxAgeMs: 400 }))).toContain('older than its max_age');
    expect(oracle.present(asked(1500, 1510, { maxAgeMs: 0 }))).toContain('older than its max_age');
    expect(oracle.present(asked(1500, 1510))).toBeUndefined();
    expect(oracle.oldestYesMs).toBe(500);
  });

  it('is right while the layer is being pushed', () => {
    linkIs('absent', 1000);
    const pushed = link.state.change('good', 2000);
    expect(oracle.present(asked(2100, 2110, { maxAgeMs: 0 }))).toBeUndefined();
    expect(oracle.absent(asked(2100, 2110))).toBeUndefined();
    pushed(2200);
    expect(oracle.absent(asked(2210, 2220))).toContain('reported missing');
  });

  it('after a no is wrong once no late write can have caused it', () => {
    linkIs('absent', 1000);
    expect(oracle.absent(asked(2000, 2010))).toBeUndefined();
    expect(oracle.present(asked(3000, 3010))).toBeUndefined();
    const later = 1000 + lateWriteMs;
    expect(oracle.absent(asked(later + 100, later + 110))).toBeUndefined();
    expect(oracle.present(asked(later + 200, later + 210))).toContain('came back after a no');
    expect(oracle.present(asked(later + 200, later + 210, { server: 'another' }))).toBeUndefined();
  });
});

describe('bytes', () => {
  const whole = (bytes: Buffer) => oracle.whole(asked(100, 110), name.content.digest, bytes.length, bytes);
  const range = (bytes: Buffer, length = 1000) =>
    oracle.range(asked(100, 110), { offset: 450, limit: 100 }, length, bytes);

  it('rule 7: that do not match the digest are wrong, also when storage holds them', () => {
    const { bytes } = name.content;
    expect(whole(bytes)).toBeUndefined();
    blobIs('flipped', 50);
    expect(whole(Buffer.from(name.content.blob.latest.bytes))).toContain('do not match the digest');
    expect(whole(bytes.subarray(0, 999))).toContain('do not match the digest');
    expect(oracle.whole(asked(100, 110), 'sha256:another', 1000, bytes)).toContain('another digest');
  });

  it('of a range are those that the blob held', () => {
    const right = Buffer.from(name.content.bytes.subarray(450, 550));
    expect(range(right)).toBeUndefined();
    expect(range(right.subarray(1))).toContain('did not hold');
    expect(range(right, 999)).toContain('did not hold');
    blobIs('flipped', 50);
    expect(range(right)).toContain('did not hold');
    expect(range(name.content.blob.latest.bytes.subarray(450, 550))).toBeUndefined();
  });
});

describe('failures, lengths and metadata', () => {
  it('DATA_LOSS is right of damage only', () => {
    expect(oracle.failed(asked(100, 110), status.DATA_LOSS, false)).toContain('whole');
    blobIs('cut', 50);
    expect(oracle.failed(asked(100, 110), status.DATA_LOSS, false)).toBeUndefined();
    blobIs('good', 200);
    linkIs('damaged', 300);
    expect(oracle.failed(asked(310, 320), status.DATA_LOSS, false)).toBeUndefined();
    expect(oracle.failed(asked(250, 260), status.DATA_LOSS, false)).toContain('whole');
  });

  it('UNAVAILABLE needs a reason, and a cache of one’s own has none', () => {
    truth.redis.change('faulty', 100)(100);
    oracle.cacheFailed(asked(110, 120), status.UNAVAILABLE);
    oracle.failed(asked(110, 120), status.UNAVAILABLE, true);
    expect(oracle.unexplained).toBe(0);
    oracle.failed(asked(110, 120), status.UNAVAILABLE, false);
    oracle.cacheFailed(asked(110, 120, { usesRedis: false }), status.UNAVAILABLE);
    expect(oracle.unexplained).toBe(2);
  });

  it.each([status.INTERNAL, status.UNKNOWN, status.INVALID_ARGUMENT, status.RESOURCE_EXHAUSTED])(
    'status %i is wrong',
    (code) => {
      expect(oracle.failed(asked(100, 110), code, true)).toBe(`status ${status[code]}`);
      expect(oracle.cacheFailed(asked(100, 110), code)).toBe(`status ${status[code]}`);
    },
  );

  it('a length is one that the blob had, within the age that was asked for', () => {
    const { digest } = name.content;
    expect(oracle.stat(asked(100, 110), digest, 1000)).toBeUndefined();
    expect(oracle.stat(asked(100, 110), digest, 600)).toContain('never had');
    expect(oracle.stat(asked(100, 110), 'sha256:another', 1000)).toContain('another digest');
    blobIs('cut', 200);
    blobIs('good', 300);
    expect(oracle.stat(asked(50_000, 50_010), digest, 600)).toBeUndefined();
    expect(oracle.stat(asked(50_000, 50_010, { maxAgeMs: 0 }), digest, 600)).toContain('never had');
  });

  it('metadata lead to the digest’s own path', () => {
    const path = blobPath(name.content.digest);
    expect(oracle.meta(asked(100, 110), path, 1000)).toBeUndefined();
    expect(oracle.meta(asked(100, 110), '/elsewhere', 1000)).toContain('lead elsewhere');
    expect(oracle.meta(asked(100, 110), path, 999)).toContain('never had');
    expect(oracle.metaTaken(asked(100, 110), path, 999)).toContain('another length');
    expect(oracle.metaTaken(asked(100, 110), '/elsewhere', 1000)).toContain('lead elsewhere');
    expect(oracle.metaRefused(asked(100, 110), path, 1000)).toContain('refused');
    expect(oracle.metaRefused(asked(100, 110), path, 999)).toBeUndefined();
  });

  it('a membership is of a repository that had the layer once', () => {
    expect(oracle.contained(asked(100, 110))).toBeUndefined();
    expect(oracle.contained(asked(100, 110, { repository: 'nobody' as RepositoryName }))).toContain(
      'never was',
    );
  });
});
