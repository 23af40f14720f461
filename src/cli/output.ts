/** Prints an answer to stdout: JSON, one object a line, or the words for people. */
export function print(json: boolean, answer: Readonly<Record<string, unknown>>, words: string): void {
  const text = json ? JSON.stringify(answer) : words;
  process.stdout.write(`${text}\n`);
}
