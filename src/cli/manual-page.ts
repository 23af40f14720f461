/** The manual page of section 1, in the macros of man(7), made from the commands' declarations. */
import type { OptionSpec } from './command.js';
import { type CommandOutline, outlines } from './command-list.js';
import { environmentName } from './options.js';

const exitCodes = [
  ['0', 'Yes, or done.'],
  ['1', 'No: not there, unknown, something is missing or was found. Of serve and health: it failed.'],
  ['2', 'Asked wrongly; one line on stderr names what is wrong.'],
  ['3', 'Failed; one line on stderr has the status, the reason and what to do.'],
] as const;

/** The page of that version. */
export function manualPage(version: string): string {
  const lines = [
    `.TH LAYERCACHE 1 "" "layercache ${version}" "User Commands"`,
    '.SH NAME',
    'layercache \\- the cached layer service of a container registry, over gRPC',
    '.SH SYNOPSIS',
    '.B layercache',
    '.RI [ command ]',
    '.RI [ argument ...]',
    '.RI [ option ...]',
    '.SH DESCRIPTION',
    'Without a command the server runs, as with',
    '.BR serve .',
    'An option is written',
    '.BI \\-\\-name " value"',
    'or',
    '.BI \\-\\-name= value\\fR.',
    'Durations are written 250ms, 5s or 2m, sizes 64KiB or 1MiB.',
    '.SH COMMANDS',
    ...outlines().flatMap(describe),
    '.SH EXIT STATUS',
    ...exitCodes.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, text(meaning)]),
    '.SH ENVIRONMENT',
    'An option names the variable that may say it, too; the command line wins.',
    '.SH FILES',
    text(
      'What neither says may be in the YAML file that --config names, by the names of the options of serve. It is read by the commands that have --config.',
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function describe({ name, summary, description, arguments: specs, rest, options }: CommandOutline): string[] {
  const operands = Object.values(specs);
  const words = operands.map(({ placeholder }) => ` \\fI${text(placeholder)}\\fR`);
  if (rest !== undefined) words.push(` [\\fI${text(rest.placeholder)}\\fR...]`);
  const lines = [`.SS layercache ${text(name)}${words.join('')}`, text(sentence(description ?? summary))];
  for (const { placeholder, help } of rest === undefined ? operands : [...operands, rest])
    lines.push('.TP', `.I ${text(placeholder)}`, text(sentence(help)));
  for (const [option, spec] of Object.entries(options)) lines.push(...describeOption(option, spec));
  return lines;
}

function describeOption(name: string, spec: OptionSpec<unknown>): string[] {
  const { short, placeholder, help, default: fallback, environment } = spec;
  const letter = short === undefined ? '' : `\\-${short}, `;
  const value = placeholder === '' ? '' : ` \\fI${text(placeholder)}\\fR`;
  const notes = [
    fallback === '' || placeholder === '' ? [] : [`Default: ${fallback}.`],
    environment === false ? [] : [`Environment: ${environmentName(name)}.`],
  ].flat();
  return ['.TP', `\\fB${letter}${text(`--${name}`)}\\fR${value}`, text([sentence(help), ...notes].join(' '))];
}

function sentence(words: string): string {
  const capital = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** Text that roff takes for text: no escapes, no requests, hyphens that can be copied. */
function text(words: string): string {
  const escaped = words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replaceAll('\n', ' ');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
