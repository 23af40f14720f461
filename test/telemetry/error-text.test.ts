import { describe, expect, it } from 'vitest';
import { CacheError } from '../../src/cache/layer-info-cache.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { causeOf, isDefect, withCause, withoutStack } from '../../src/telemetry/error-text.js';

const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' });

describe('the cause of a line', () => {
  it.each([
    [new CacheError('lookup failed', { cause: refused }), 'lookup failed: connect ECONNREFUSED 127.0.0.1:1'],
    [new Error('first\nsecond'), 'first'],
    ['no error at all', 'no error at all'],
    [undefined, 'undefined'],
  ])('%s', (error, cause) => {
    expect(causeOf(error)).toBe(cause);
    expect(withCause('cache failed', error)).toBe(`cache failed: ${cause}`);
  });
});

describe('a stack is written only of a defect', () => {
  it.each([
    ['a typed error', new StorageError('no', { cause: new Error('EIO') }), false],
    ['a driver that uses undefined', new StorageError('no', { cause: new TypeError('of undefined') }), true],
    ['an error of the language', new RangeError('no'), true],
    ['an error of nobody’s type', new Error('no'), true],
    ['an error of the system', refused, false],
    ['fetch, whose TypeError has such a cause', new TypeError('fetch failed', { cause: refused }), false],
    ['a value that is no error', 'no', true],
  ])('%s', (_, error, expected) => {
    expect(isDefect(error)).toBe(expected);
    if (expected) expect(withoutStack(error)).toBe(error);
    else expect(withoutStack(error)).not.toHaveProperty('stack');
  });

  it('of an error whose causes form a ring', () => {
    const ring = new StorageError('ring');
    ring.cause = ring;
    expect(isDefect(ring)).toBe(false);
    expect(causeOf(ring)).toMatch(/^ring/);
  });

  it('without it the line has type, message with causes, and code', () => {
    expect(withoutStack(new CacheError('lookup failed', { cause: refused }))).toEqual({
      type: 'CacheError',
      message: 'lookup failed: connect ECONNREFUSED 127.0.0.1:1',
      code: undefined,
    });
  });
});
