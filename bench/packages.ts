/** The programs that a case (or the model) needs, from Debian's packages; what cannot be had is said and left out. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const goSources = '/usr/share/gocode/src';
/** By what shows that it is there: a program on the path, or an absolute file. */
const packages: Readonly<Record<string, string>> = {
  'redis-server': 'redis-server',
  'docker-registry': 'docker-registry',
  radosgw: 'radosgw',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  ceph: 'ceph-common',
  skopeo: 'skopeo',
  h2load: 'nghttp2-client',
  openssl: 'openssl',
  go: 'golang-go',
  [`${goSources}/google.golang.org/grpc`]: 'golang-google-grpc-dev',
  [`${goSources}/google.golang.org/protobuf`]: 'golang-google-protobuf-dev',
  [`${goSources}/github.com/gomodule/redigo`]: 'golang-github-gomodule-redigo-dev',
  '/usr/lib/python3/dist-packages/grpc': 'python3-grpcio',
  spin: 'spin',
  gcc: 'gcc',
  tcc: 'tcc',
  '/usr/include/stdlib.h': 'libc6-dev',
};

export type Requirement =
  | 'redis-server'
  | 'docker-registry'
  | 'radosgw'
  | 'skopeo'
  | 'h2load'
  | 'openssl'
  | 'go'
  | 'python'
  | 'spin';

const partsOf: Record<Requirement, readonly string[]> = {
  'redis-server': ['redis-server'],
  'docker-registry': ['docker-registry'],
  radosgw: ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph'],
  skopeo: ['skopeo'],
  h2load: ['h2load'],
  openssl: ['openssl'],
  go: ['go', ...Object.keys(packages).filter((name) => name.startsWith(goSources))],
  python: ['/usr/lib/python3/dist-packages/grpc'],
  spin: ['spin', 'gcc', 'tcc', '/usr/include/stdlib.h'],
};

/** Installs what is missing, with a word to stderr; gives what there is in the end. */
export function provide(wanted: readonly Requirement[]): ReadonlySet<Requirement> {
  const missing = wanted.flatMap((name) => partsOf[name]).filter((part) => !isThere(part));
  if (missing.length > 0) install([...new Set(missing)].map((part) => packages[part] ?? part));
  return new Set(wanted.filter((name) => partsOf[name].every(isThere)));
}

function install(names: readonly string[]): void {
  const command = ['install', '-y', '--no-install-recommends', ...names];
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    console.error(`not installed: ${names.join(', ')} (sudo apt-get ${command.join(' ')})`);
    return;
  }
  console.error(`installing ${names.join(', ')} …`);
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'ignore', 'inherit'] as ('ignore' | 'inherit')[],
    timeout: 300_000,
  };
  try {
    execFileSync('apt-get', ['update', '-qq'], options);
    execFileSync('apt-get', command, options);
  } catch (error) {
    console.error(`they could not be installed: ${error instanceof Error ? error.message : error}`);
  }
}

function isThere(part: string): boolean {
  if (part.startsWith('/')) return existsSync(part);
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, part), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
