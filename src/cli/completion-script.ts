/** Scripts that complete command lines, made from the commands' declarations. */
import type { ArgumentSpec, OptionSpec } from './command.js';
import { type CommandOutline, outlines } from './command-list.js';
import { choicesOf } from './option-values.js';

interface Flag {
  /** As it is written, with its dashes. */
  readonly written: string;
  readonly help: string;
  readonly takesValue: boolean;
  /** What the value may be, when that can be listed. */
  readonly choices: readonly string[];
}

export function completionScript(shell: 'bash' | 'zsh' | 'fish'): string {
  return { bash, zsh, fish }[shell](outlines());
}

function flagsOf({ options }: CommandOutline): Flag[] {
  const flags = Object.entries(options).flatMap(([name, spec]: [string, OptionSpec<unknown>]) => {
    const { placeholder, help, schema, short } = spec;
    const flag = { help: brief(help), takesValue: placeholder !== '', choices: choicesOf(schema) };
    return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])].map((written) => ({
      written,
      ...flag,
    }));
  });
  return [...flags, { written: '--help', help: 'display help', takesValue: false, choices: [] }];
}

/** What the arguments may be, when that can be listed. */
function operandsOf({ arguments: specs }: CommandOutline): readonly string[] {
  return Object.values(specs).flatMap(({ schema }: ArgumentSpec<unknown>) => choicesOf(schema));
}

function bash(commands: readonly CommandOutline[]): string {
  const cases = commands.map((command) => {
    const flags = flagsOf(command);
    const listed = flags.filter(({ choices }) => choices.length > 0);
    const others = flags.filter(({ takesValue, choices }) => takesValue && choices.length === 0);
    return [
      `    ${command.name})`,
      '      case "$previous" in',
      ...listed.map(({ written, choices }) => `        ${written}) words='${choices.join(' ')}' ;;`),
      ...(others.length > 0
        ? [`        ${others.map(({ written }) => written).join('|')}) files=yes ;;`]
        : []),
      `        *) words='${[...flags.map(({ written }) => written), ...operandsOf(command)].join(' ')}'; files=yes ;;`,
      '      esac ;;',
    ].join('\n');
  });
  return `# layercache completion bash
_layercache() {
  local current previous command words= files=
  current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" command=serve
  # --name=value comes as three words.
  if [ "$current" = = ]; then current=; fi
  if [ "$previous" = = ]; then previous="\${COMP_WORDS[COMP_CWORD - 2]}"; fi
  if [ "$COMP_CWORD" -gt 1 ]; then
    case "\${COMP_WORDS[1]}" in -*) ;; *) command="\${COMP_WORDS[1]}" ;; esac
  fi
  case "$command" in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${commands.map(({ name }) => name).join(' ')} $words" files=; fi
  COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$current")
  if [ "\${#COMPREPLY[@]}" -eq 0 ] && [ -n "$files" ]; then compopt -o default 2>/dev/null; fi
}
complete -F _layercache layercache
`;
}

function zsh(commands: readonly CommandOutline[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const described = (text: string) => text.replaceAll(/[[\]\\:]/g, '\\$&');
  const argument = ({ written, help, takesValue, choices }: Flag) => {
    const value = choices.length > 0 ? `:value:(${choices.join(' ')})` : ':value:_files';
    return quoted(`${written}${takesValue ? '=' : ''}[${described(help)}]${takesValue ? value : ''}`);
  };
  const cases = commands.map((command) => {
    const operands = operandsOf(command);
    const rest = operands.length > 0 ? `*:argument:(${operands.join(' ')})` : '*:argument:_files';
    const lines = [...flagsOf(command).map(argument), quoted(rest)].map((each) => `      ${each}`);
    return `    ${command.name}) _arguments -s \\\n${lines.join(' \\\n')} ;;`;
  });
  const names = commands.map(({ name, summary }) => `    ${quoted(`${name}:${described(summary)}`)}`);
  return `#compdef layercache
# layercache completion zsh
_layercache() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    _describe command commands
    return
  fi
  local command=serve
  if [[ $words[2] != -* ]]; then
    command=$words[2]
    shift words
    (( CURRENT-- ))
  fi
  case $command in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _layercache ]]; then _layercache "$@"; else compdef _layercache layercache; fi
`;
}

function fish(commands: readonly CommandOutline[]): string {
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const others = commands.map(({ name }) => name).filter((name) => name !== 'serve');
  const lines = commands.flatMap((command) => {
    const { name, summary } = command;
    const isChosen =
      name === 'serve'
        ? `not __fish_seen_subcommand_from ${others.join(' ')}`
        : `__fish_seen_subcommand_from ${name}`;
    const complete = `complete -c layercache -n ${quoted(isChosen)}`;
    const operands = operandsOf(command);
    return [
      `complete -c layercache -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
      ...flagsOf(command).map(({ written, help, takesValue, choices }) => {
        const flag = written.startsWith('--') ? `-l ${written.slice(2)}` : `-s ${written.slice(1)}`;
        const value = choices.length > 0 ? ` -x -a ${quoted(choices.join(' '))}` : takesValue ? ' -r' : '';
        return `${complete} ${flag}${value} -d ${quoted(help)}`;
      }),
      ...(operands.length > 0 ? [`${complete} -f -a ${quoted(operands.join(' '))}`] : []),
    ];
  });
  return `# layercache completion fish\n${lines.join('\n')}\n`;
}

/** The first words of a help text, enough to know the option by. */
function brief(help: string): string {
  const [first = ''] = help.split(/[:;(,.](?:\s|$)|\s\(/);
  return first.length > 60 ? `${first.slice(0, 59)}…` : first;
}
