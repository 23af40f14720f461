/** Whether the files of TLS can be read, belong together and are in force. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { isLoopback } from '../option-values.js';
import type { Config } from '../options.js';
import { FileUnreadableError, WatchedFiles } from '../watched-files.js';
import { type Finding, fail, ok, warn } from './finding.js';

const day = 24 * 60 * 60_000;
/** Days before its end from which a certificate is told about. */
const warnDays = 14;
const block = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

type FileOption = 'tls-cert' | 'tls-key' | 'tls-client-ca';

/** Looks at the files by the clock of `now`, milliseconds since the epoch. */
export async function tlsFindings(config: Config, now = Date.now()): Promise<Finding[]> {
  const { listen } = config;
  if (config['tls-cert'] === undefined) {
    const isOpen = 'host' in listen && !isLoopback(listen.host);
    return isOpen
      ? [
          warn(
            'tls',
            'gRPC is served in plain text beyond this machine',
            'Encrypt it with --tls-cert and --tls-key, or have something in front that does.',
          ),
        ]
      : [ok('tls', 'gRPC is served in plain text, on this machine only')];
  }
  const findings: Finding[] = [];
  const read = async (option: FileOption) => readFile(option, config[option], findings);
  const [cert, key, clientCa] = [await read('tls-cert'), await read('tls-key'), await read('tls-client-ca')];
  const chain = cert && certificates('--tls-cert', cert, findings);
  const authorities = clientCa && certificates('--tls-client-ca', clientCa, findings);
  for (const [index, each] of (chain ?? []).entries())
    findings.push(endFinding(index === 0 ? 'tls: certificate' : 'tls: chain', each, now));
  for (const each of authorities ?? []) findings.push(authorityFinding(each, now));
  if (chain !== undefined) findings.push(...chainFindings(chain));
  const [leaf] = chain ?? [];
  if (leaf !== undefined && key !== undefined) findings.push(keyFinding(leaf, key));
  findings.push(...(await modeFindings(config['tls-key'])));
  return findings;
}

async function readFile(
  option: FileOption,
  path: string | undefined,
  findings: Finding[],
): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return (await WatchedFiles.open([path])).contents[0];
  } catch (error) {
    if (!(error instanceof FileUnreadableError)) throw error;
    const advice = `Correct --${option}, or let the account of the server read the file.`;
    findings.push(fail('tls', `--${option}: ${path}: ${error.message}`, advice));
    return undefined;
  }
}

function certificates(option: string, pem: Buffer, findings: Finding[]): X509Certificate[] | undefined {
  const texts = pem.toString('latin1').match(block);
  try {
    if (texts !== null) return texts.map((text) => new X509Certificate(text));
  } catch {
    // What OpenSSL says of it helps no operator.
  }
  findings.push(
    fail(
      'tls',
      `${option}: there is no certificate in PEM form`,
      'Name a file with BEGIN CERTIFICATE in it.',
    ),
  );
  return undefined;
}

function endFinding(what: string, certificate: X509Certificate, now: number): Finding {
  const name = nameOf(certificate.subject);
  const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  const date = (time: number) => new Date(time).toISOString().slice(0, 10);
  if (now < from)
    return fail(
      what,
      `${name} is valid only from ${date(from)} on`,
      'Wait, or correct the clock of this machine.',
    );
  if (now > to)
    return fail(what, `${name} has expired on ${date(to)}`, 'Renew it: the file is read again by itself.');
  const days = Math.floor((to - now) / day);
  const cause = `${name} ends on ${date(to)}, in ${days} days`;
  return days < warnDays ? warn(what, cause, 'Renew it: the file is read again by itself.') : ok(what, cause);
}

function authorityFinding(certificate: X509Certificate, now: number): Finding {
  const finding = endFinding('tls: client authority', certificate, now);
  if (finding.status === 'fail' || certificate.ca) return finding;
  return fail(
    'tls: client authority',
    `${nameOf(certificate.subject)} is no authority, so that it admits nobody`,
    'Name the certificate that issued those of the clients in --tls-client-ca.',
  );
}

function chainFindings(chain: readonly X509Certificate[]): Finding[] {
  const [leaf] = chain;
  if (leaf === undefined) return [];
  const findings: Finding[] = [];
  if (leaf.subjectAltName === undefined)
    findings.push(
      warn(
        'tls: certificate',
        `${nameOf(leaf.subject)} holds no names (subjectAltName)`,
        'Clients check the name that they connect to: issue one with DNS or IP names.',
      ),
    );
  const broken = chain.findIndex((each, index) => {
    const next = chain[index + 1];
    return next !== undefined && !(each.checkIssued(next) && each.verify(next.publicKey));
  });
  const issuer = nameOf(chain.at(-1)?.issuer ?? '');
  if (broken < 0) findings.push(ok('tls: chain', `${chain.length} of a chain that leads to ${issuer}`));
  else
    findings.push(
      fail(
        'tls: chain',
        `certificate ${broken + 1} of --tls-cert is not issued by the one behind it`,
        "Write the server's certificate first, then each issuer in turn.",
      ),
    );
  return findings;
}

function keyFinding(leaf: X509Certificate, pem: Buffer): Finding {
  try {
    if (leaf.checkPrivateKey(createPrivateKey(pem))) return ok('tls: key', 'it is that of the certificate');
  } catch (error) {
    const isEncrypted = /ENCRYPTED/.test(pem.toString('latin1'));
    const cause = isEncrypted ? 'it is encrypted' : `it cannot be used (${codeOf(error)})`;
    return fail('tls: key', cause, 'Name a private key in PEM form, without a passphrase.');
  }
  return fail('tls: key', "it is not the certificate's", 'Renew both files together.');
}

async function modeFindings(path: string | undefined): Promise<Finding[]> {
  if (path === undefined) return [];
  const mode = await stat(path).then(
    ({ mode }) => mode,
    () => 0,
  );
  if ((mode & 0o004) === 0) return [];
  return [
    warn('tls: key', 'every account of this machine may read it', `Take that right away: chmod o-r ${path}.`),
  ];
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}

/** The common name of a subject or issuer, or all of it in one line. */
function nameOf(subject: string): string {
  return (
    /^CN=(.*)$/m.exec(subject)?.[1] ?? (subject === '' ? 'the certificate' : subject.replaceAll('\n', ', '))
  );
}
