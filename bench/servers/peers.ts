/** The peers, each as its `peers/` program or Debian's package has it. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../free-port.ts';
import { type Processes, serverCore } from '../processes.ts';
import type { Certificate, Server } from './server.ts';

const peers = join(import.meta.dirname, '..', 'peers');
const nothing = async () => ({});

/** An empty handler for Exists, and the plain way to write Fetch. */
export async function startGrpcJs(processes: Processes, root: string): Promise<Server> {
  const started = await processes.startPeer(process.execPath, [join(peers, 'grpc-js.ts'), root]);
  return { name: 'grpc-js', protocol: 'grpc', counts: nothing, ...started };
}

export async function startHttp2(processes: Processes, root: string): Promise<Server> {
  const started = await processes.startPeer(process.execPath, [join(peers, 'http2-files.ts'), root]);
  return { name: 'node:http2', protocol: 'http2', counts: nothing, ...started };
}

/** Builds from Debian's Go packages alone: no module, no network. */
export async function startGrpcGo(
  processes: Processes,
  {
    root,
    redisPort,
    folder,
    certificate,
  }: { root: string; redisPort: number; folder: string; certificate?: Certificate | undefined },
): Promise<Server> {
  const program = join(folder, 'grpc-go');
  execFileSync('go', ['build', '-o', program, join(peers, 'grpc-go', 'main.go')], {
    env: { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '' },
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 120_000,
  });
  const tls = certificate === undefined ? [] : [certificate.certFile, certificate.keyFile];
  const started = await processes.startPeer(program, [root, String(redisPort), ...tls]);
  return { name: 'grpc-go', protocol: 'grpc', caFile: certificate?.caFile, counts: nothing, ...started };
}

/** Debian's docker-registry with its descriptors in Redis; logs errors alone, to nobody. */
export async function startDockerRegistry(
  processes: Processes,
  { root, redisPort, folder }: { root: string; redisPort: number; folder: string },
): Promise<Server> {
  const port = await freePort();
  const config = join(folder, 'docker-registry.json');
  writeFileSync(
    config,
    JSON.stringify({
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: root }, cache: { blobdescriptor: 'redis' } },
      redis: { addr: `127.0.0.1:${redisPort}`, pool: { maxidle: 16, maxactive: 64, idletimeout: '300s' } },
      http: { addr: `127.0.0.1:${port}` },
    }),
  );
  const child = processes.start('docker-registry', ['serve', config], {
    core: serverCore,
    // Its tracing would look for a collector of its own.
    env: { OTEL_TRACES_EXPORTER: 'none' },
  });
  child.stdout?.resume();
  child.stderr?.resume();
  const deadline = performance.now() + 15_000;
  for (;;) {
    const up = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (up) return { name: 'docker-registry', protocol: 'http1', counts: nothing, child, port };
    if (performance.now() > deadline || child.exitCode !== null)
      throw new Error('docker-registry does not answer');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
