/** Shell completion and the manual page, by the shells and readers that they are for. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outlines } from '../../src/cli/command-list.js';
import { optionNames } from '../../src/cli/options.js';
import { run } from '../parts/layercache-process.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-completion-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function script(shell: string): Promise<string> {
  const { code, stdout, stderr } = await run(['completion', shell]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const file = join(folder, `completion.${shell}`);
  await writeFile(file, stdout);
  return file;
}

/** What the command line may go on with behind these words, the last of them unfinished. */
type Completer = (...words: string[]) => Promise<string[]>;

const completers: readonly [shell: string, complete: Completer][] = [
  [
    'bash',
    async (...words) => {
      // Read twice, as by a user who sources ~/.bashrc again.
      const source = `source ${await script('bash')}; source ${await script('bash')}`;
      const ask = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _layercache; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const args = ['--norc', '-euc', `${source}; ${ask}`, 'bash', 'layercache', ...words];
      return lines(execFileSync('bash', args, { encoding: 'utf8' }));
    },
  ],
  [
    'fish',
    async (...words) => {
      const line = ['layercache', ...words].join(' ');
      const args = ['-c', `source ${await script('fish')}; complete -C ${JSON.stringify(line)}`];
      const said = execFileSync('fish', args, { encoding: 'utf8', env: { ...process.env, HOME: folder } });
      return lines(said).map((each) => each.split('\t')[0] ?? '');
    },
  ],
  [
    'zsh',
    async (...words) => {
      const driver = join(folder, 'drive.zsh');
      await writeFile(driver, zshDriver);
      const args = ['-f', driver, await script('zsh'), ['layercache', ...words].join(' ')];
      const said = execFileSync('zsh', args, { encoding: 'utf8', env: { ...process.env, ZDOTDIR: folder } });
      return lines(said).map((each) => each.trim());
    },
  ],
];

// An interactive zsh on a terminal of its own, whose `compadd` tells what it is given, between
// characters that its echoed definition does not hold.
const zshDriver = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; autoload -Uz compinit; compinit -u -D; source '$1
zpty -w z 'compadd() { local -a a; builtin compadd -O a "$@"; printf "\\074%s\\076\\n" $a > /dev/tty; builtin compadd "$@" }'
zpty -w z 'ask() { _main_complete; printf "\\074over\\076\\n" > /dev/tty }; zle -C ask complete-word ask; bindkey "^I" ask'
zpty -w z 'printf "\\074begin\\076\\n"'
zpty -r z out '*<begin>*'
zpty -n -w z "$2"$'\\t'
zpty -r z out '*<over>*'
print -r -- $out | grep -o '<[^<>]*>' | tr -d '<>' | grep -vx over | sort -u
zpty -d z
`;

function lines(text: string): string[] {
  return text.split('\n').filter((each) => each !== '');
}

describe.each(completers)('completion in %s', (_, complete) => {
  it('knows the commands', async () => {
    expect(await complete('hea')).toEqual(['health']);
  });

  it('knows the options of a command, and those of serve where none is named', async () => {
    expect((await complete('serve', '--storage')).sort()).toEqual(['--storage', '--storage-timeout']);
    expect((await complete('--storage')).sort()).toEqual(['--storage', '--storage-timeout']);
  });

  it('knows what a value may be', async () => {
    expect((await complete('serve', '--verify', '')).sort()).toEqual(['always', 'first', 'off']);
    expect(await complete('completion', 'f')).toEqual(['fish']);
  });
});

it('a shell that is not known is asked wrongly', async () => {
  const { code, stderr } = await run(['completion', 'tcsh']);
  expect(stderr).toBe('layercache: SHELL must be one of bash, zsh, fish; see layercache completion --help\n');
  expect(code).toBe(2);
});

describe('the manual page', () => {
  let page: string;
  beforeAll(async () => {
    page = (await run(['man'])).stdout;
  });

  it('is roff without a mistake', () => {
    const { stdout, status } = spawnSync('mandoc', ['-T', 'lint', '-W', 'error'], {
      input: page,
      encoding: 'utf8',
    });
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
  });

  it('tells of every command and every option', () => {
    const { stdout } = spawnSync('mandoc', ['-T', 'utf8'], { input: page, encoding: 'utf8' });
    // Bold is a letter, a backspace and the letter again.
    const parts = stdout.split('\b');
    const shown = parts.map((part, at) => (at + 1 < parts.length ? part.slice(0, -1) : part)).join('');
    for (const { name } of outlines()) expect(shown).toContain(`layercache ${name}`);
    for (const name of optionNames) expect(shown).toContain(`--${name} `);
  });
});
