/**
 * The real programs that tests run against, installed from Debian's packages
 * when they are missing and this is root; else one line says what to do.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What the tests use, a program or the path of a library, and the Debian package that brings it. */
const needed = {
  'redis-server': 'redis-server',
  'docker-registry': 'docker-registry',
  radosgw: 'radosgw',
  chromium: 'chromium',
  promtool: 'prometheus',
  amtool: 'prometheus-alertmanager',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  ceph: 'ceph-common',
  'unionfs-fuse': 'unionfs-fuse',
  go: 'golang-go',
  zsh: 'zsh',
  fish: 'fish',
  mandoc: 'mandoc',
  skopeo: 'skopeo',
  buildah: 'buildah',
  podman: 'podman',
  curl: 'curl',
  'systemd-analyze': 'systemd',
  strace: 'strace',
  openssl: 'openssl',
  nghttp: 'nghttp2-client',
  '/usr/sbin/nginx': 'nginx-light',
  '/usr/sbin/haproxy': 'haproxy',
  ruby: 'ruby',
  protoc: 'protobuf-compiler',
  grpc_cpp_plugin: 'protobuf-compiler-grpc',
  grpc_java_plugin: 'protobuf-compiler-grpc-java-plugin',
  'protoc-gen-go': 'golang-goprotobuf-dev',
  'g++': 'g++',
  'pkg-config': 'pkg-config',
  javac: 'default-jdk-headless',
  '/usr/include/grpcpp': 'libgrpc++-dev',
  '/usr/include/openssl/evp.h': 'libssl-dev',
  '/usr/share/java/grpc-core.jar': 'libgrpc-java',
  '/usr/share/java/protobuf.jar': 'libprotobuf-java',
  '/usr/share/java/netty-codec-http2.jar': 'libnetty-java',
  '/usr/share/java/gson.jar': 'libgoogle-gson-java',
  '/usr/share/java/perfmark-api.jar': 'libperfmark-java',
  '/usr/share/java/proto-google-common-protos.jar': 'libgoogle-common-protos-java',
  '/usr/share/java/geronimo-annotation-1.3-spec.jar': 'libgeronimo-annotation-1.3-spec-java',
  '/usr/share/rubygems-integration/all/gems/googleapis-common-protos-types-1.4.0':
    'ruby-googleapis-common-protos-types',
  '/usr/lib/python3/dist-packages/google/protobuf': 'python3-protobuf',
  '/usr/lib/x86_64-linux-gnu/rubygems-integration/3.1.0/gems/grpc-1.51.1': 'ruby-grpc',
  '/usr/lib/python3/dist-packages/grpc': 'python3-grpcio',
  '/usr/lib/python3/dist-packages/hpack': 'python3-hpack',
  '/usr/share/gocode/src/google.golang.org/grpc': 'golang-google-grpc-dev',
};

export default function installMissingPrograms(): void {
  const missing = Object.entries(needed)
    .filter(([part]) => !(part.startsWith('/') ? existsSync(part) : isOnPath(part)))
    .map(([, debianPackage]) => debianPackage);
  if (missing.length === 0) return;

  const install = ['install', '-y', '--no-install-recommends', ...missing];
  if (process.getuid?.() !== 0 || !isOnPath('apt-get')) {
    throw new Error(`the tests need ${missing.join(' and ')}: sudo apt-get ${install.join(' ')}`);
  }
  console.error(`installing ${missing.join(' and ')} …`);
  // The packages start their services where there is an init system; the tests
  // start their own on free ports.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  execFileSync('apt-get', ['update', '-qq'], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 120_000,
  });
  execFileSync('apt-get', install, { env, stdio: ['ignore', 'ignore', 'inherit'], timeout: 300_000 });
}

function isOnPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false; // Not in this directory, or not for us: the next one may have it.
    }
  });
}
