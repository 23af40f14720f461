/** A short `npm run soak`, and that a server that serves what it should not is found out. */
import { randomInt } from 'node:crypto';
import { expect, it } from 'vitest';
import { SeededRandom } from '../../tools/soak/seeded-random.js';
import { soak } from '../../tools/soak/soak.js';

it('ten seconds of every fault at once bring no wrong answer and leave nothing open', async () => {
  const seed = randomInt(2 ** 31);
  const lines: string[] = [];
  const result = await soak({ seconds: 10, seed, tell: (line) => lines.push(line) });
  expect(result.complaints, `seed ${seed}`).toEqual([]);
  expect(result.ok).toBe(true);
  expect(result.calls).toBeGreaterThan(200);
  expect(result.faultCount).toBeGreaterThan(20);
  expect(lines).toHaveLength(2);
}, 90_000);

it('rule 7: servers that do not hash what they serve are detected', async () => {
  const seed = randomInt(2 ** 31);
  const serverArgs = ['--verify=off'];
  const result = await soak({ seconds: 40, seed, serverArgs, enough: 1, tell: () => {} });
  expect(result.ok).toBe(false);
  expect(result.complaints.join('\n')).toContain('do not match the digest');
}, 90_000);

it('a seed and a name give the same choices each time, another name others', () => {
  const throws = (seed: number, name: string) => {
    const random = new SeededRandom(seed, name);
    return Array.from({ length: 20 }, () => random.between(0, 1_000_000));
  };
  expect(throws(5, 'storage')).toEqual(throws(5, 'storage'));
  expect(throws(5, 'redis')).not.toEqual(throws(5, 'storage'));
  expect(throws(6, 'storage')).not.toEqual(throws(5, 'storage'));
  expect(new Set(throws(5, 'storage')).size).toBeGreaterThan(15);
});
