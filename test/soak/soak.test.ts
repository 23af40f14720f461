/** A short `npm run soak`, and that a server that serves what it should not is found out. */
import { randomInt } from 'node:crypto';
import { expect, it } from 'vitest';
import { Dice } from '../../tools/soak/dice.js';
import { soak } from '../../tools/soak/soak.js';

it('ten seconds of every trouble at once bring no wrong answer and leave nothing open', async () => {
  const seed = randomInt(2 ** 31);
  const lines: string[] = [];
  const verdict = await soak({ seconds: 10, seed, tell: (line) => lines.push(line) });
  expect(verdict.complaints, `seed ${seed}`).toEqual([]);
  expect(verdict.ok).toBe(true);
  expect(verdict.calls).toBeGreaterThan(200);
  expect(verdict.faultCount).toBeGreaterThan(20);
  expect(lines).toHaveLength(2);
}, 90_000);

it('rule 7: servers that do not hash what they serve are found out', async () => {
  const seed = randomInt(2 ** 31);
  const serverArgs = ['--verify=off'];
  const verdict = await soak({ seconds: 40, seed, serverArgs, enough: 1, tell: () => {} });
  expect(verdict.ok).toBe(false);
  expect(verdict.complaints.join('\n')).toContain('do not match the digest');
}, 90_000);

it('a seed and a name give the same choices each time, another name others', () => {
  const throws = (seed: number, name: string) => {
    const dice = new Dice(seed, name);
    return Array.from({ length: 20 }, () => dice.between(0, 1_000_000));
  };
  expect(throws(5, 'storage')).toEqual(throws(5, 'storage'));
  expect(throws(5, 'redis')).not.toEqual(throws(5, 'storage'));
  expect(throws(6, 'storage')).not.toEqual(throws(5, 'storage'));
  expect(new Set(throws(5, 'storage')).size).toBeGreaterThan(15);
});
