/** CPU profiles and heap snapshots, by the options; what came of each is logged. */
import type { Logger } from 'pino';
import { type Config, ConfigError } from '../cli/options.js';
import {
  type Diagnosis,
  type DiagnosisResult,
  Diagnostics,
  DiagnosticsFolderError,
} from '../telemetry/diagnostics.js';

export interface Diagnoses {
  /** Never rejects. */
  run(diagnosis: Diagnosis): Promise<DiagnosisResult>;
  close(): Promise<void>;
}

/** Without a folder every one is refused. Rejects with a `ConfigError` for a folder that cannot be used. */
export async function openDiagnoses(
  config: Config,
  log: Logger,
  worker: number | undefined,
): Promise<Diagnoses> {
  const folder = config['diagnostics-dir'];
  const diagnostics = folder === undefined ? undefined : await opened(folder, worker);
  return {
    run: async (diagnosis) => {
      const what = diagnosis.kind === 'cpu' ? 'a CPU profile' : 'a heap snapshot';
      if (diagnostics !== undefined) log.info({ kind: diagnosis.kind }, `${what} is being made`);
      const result = (await diagnostics?.run(diagnosis)) ?? { problem: '--diagnostics-dir is not set' };
      if ('file' in result) log.info({ file: result.file }, `${what} was written`);
      else log.warn(`${what} was not written: ${result.problem}`);
      return result;
    },
    close: async () => diagnostics?.close(),
  };
}

async function opened(folder: string, worker: number | undefined): Promise<Diagnostics> {
  try {
    return await Diagnostics.open(folder, worker === undefined ? 'server' : `worker-${worker}`);
  } catch (error) {
    if (!(error instanceof DiagnosticsFolderError)) throw error;
    throw new ConfigError(`--diagnostics-dir: ${error.message}`, { cause: error });
  }
}
