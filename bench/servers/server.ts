/** Something that is measured: a server of ours or a peer, up, on the server's core. */
import type { ChildProcess } from 'node:child_process';
import type { LoadSpec } from '../load/load-spec.ts';

/** What a server itself says it has done, to be compared with what the load generator saw. */
export type Counts = Readonly<Record<string, number>>;

/** PEM files. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** The authority that signed it. */
  readonly caFile: string;
}

export interface Server {
  readonly name: string;
  readonly child: ChildProcess;
  readonly port: number;
  readonly protocol: LoadSpec['protocol'];
  /** The file of the certificate that the server's is signed by, over TLS. */
  readonly caFile?: string | undefined;
  counts(): Promise<Counts>;
}
