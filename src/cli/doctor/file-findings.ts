/** Whether the folder for profiles can be written to and the tokens be read. */
import { Diagnostics, DiagnosticsFolderError } from '../../telemetry/diagnostics.js';
import type { Config } from '../options.js';
import { FileUnreadableError, WatchedFiles } from '../watched-files.js';
import { type Finding, fail, ok } from './finding.js';

const tokenOptions = ['admin-token-file', 'notifications-token-file'] as const;

export async function fileFindings(config: Config): Promise<Finding[]> {
  const findings: Finding[] = [];
  const folder = config['diagnostics-dir'];
  if (folder !== undefined) findings.push(await folderFinding(folder));
  for (const option of tokenOptions) {
    const path = config[option];
    if (path !== undefined) findings.push(await tokenFinding(option, path));
  }
  return findings;
}

async function folderFinding(folder: string): Promise<Finding> {
  try {
    await Diagnostics.open(folder, 'doctor');
    return ok('diagnosis', 'profiles and heap snapshots can be written');
  } catch (error) {
    if (!(error instanceof DiagnosticsFolderError)) throw error;
    const advice = 'Make the directory, and let the account of the server write there.';
    return fail('diagnosis', `--diagnostics-dir: ${error.message}`, advice);
  }
}

async function tokenFinding(option: (typeof tokenOptions)[number], path: string): Promise<Finding> {
  try {
    await WatchedFiles.open([path]);
    return ok('token', `the file of --${option} can be read`);
  } catch (error) {
    if (!(error instanceof FileUnreadableError)) throw error;
    const advice = `Correct --${option}, or let the account of the server read the file.`;
    return fail('token', `--${option}: ${path}: ${error.message}`, advice);
  }
}
