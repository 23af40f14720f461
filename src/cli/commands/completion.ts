/** `layercache completion bash|zsh|fish`: what those shells run to complete a command line. */
import { command } from '../command.js';
import { oneOf } from '../option-values.js';

export const completion = command({
  name: 'completion',
  summary: 'print what a shell needs to complete command lines',
  description:
    'Prints a script for that shell. In ~/.bashrc or ~/.zshrc: source <(layercache completion bash), or zsh; for fish: layercache completion fish > ~/.config/fish/completions/layercache.fish.',
  arguments: {
    shell: { placeholder: 'SHELL', help: 'bash, zsh or fish', schema: oneOf('bash', 'zsh', 'fish') },
  },
  options: {},
  run: async ({ arguments: { shell } }) => {
    const { completionScript } = await import('../completion-script.js');
    process.stdout.write(completionScript(shell));
    return 0;
  },
});
