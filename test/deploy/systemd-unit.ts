/** A unit of deploy/systemd as it is written. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deploy } from './deployed-files.js';
import type { DeployedProgram } from './deployed-program.js';

export const unitFolder = join(deploy, 'systemd');

export class SystemdUnit {
  readonly name: string;
  readonly text: string;
  readonly #settings: readonly (readonly [name: string, value: string])[];

  private constructor(name: string, text: string) {
    this.name = name;
    this.text = text;
    this.#settings = Array.from(text.matchAll(/^(\w+)=(.*)$/gm), ([, key = '', value = '']) => [key, value]);
  }

  static async read(name: string): Promise<SystemdUnit> {
    return new SystemdUnit(name, await readFile(join(unitFolder, name), 'utf8'));
  }

  /** Every value that a setting is given. */
  all(setting: string): string[] {
    return this.#settings.filter(([name]) => name === setting).map(([, value]) => value);
  }

  /** Its only value. */
  one(setting: string): string {
    const [value, ...more] = this.all(setting);
    if (value === undefined || more.length > 0) throw new Error(`${this.name} has not one ${setting}`);
    return value;
  }

  /** What `ExecStart` and `Environment` start. */
  get program(): DeployedProgram {
    const [, command = '', ...args] = this.one('ExecStart').split(' ');
    const env = Object.fromEntries(
      this.all('Environment').map((line) => [
        line.slice(0, line.indexOf('=')),
        line.slice(line.indexOf('=') + 1),
      ]),
    );
    return { file: `systemd/${this.name}`, command, args, env };
  }

  /** Names below the credentials' directory. */
  get credentials(): string[] {
    return this.all('LoadCredential').map((credential) => credential.split(':')[0] ?? '');
  }
}
