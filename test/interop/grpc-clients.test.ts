/** Other people's clients, and proxies in front, over both transports. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { compressionAlgorithms, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  ExistsRequest,
  ExistsResponse,
  FetchRequest,
  FindMissingRequest,
  FindMissingResponse,
  LayerCacheServiceClient,
  Source,
} from '../../src/gen/layercache/v1/layer_cache.js';
import { freePort } from '../parts/free-port.js';
import { buildGoProgram } from '../parts/go-program.js';
import { grpcFrame } from '../parts/http2-frames.js';
import { sha256Of } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const run = promisify(execFile);
const repository = repositoryNamed('team/app');
const existsPath = '/layercache.v1.LayerCacheService/Exists';

const clients = join(import.meta.dirname, 'clients');

/** Where the client in Java can be run from: Debian's jars, as the example's `build.sh` names them, and its classes. */
async function buildJavaClient(into: string): Promise<string> {
  await run('sh', [join(import.meta.dirname, '../../examples/java/build.sh'), into], { timeout: 60_000 });
  const jars = (await readFile(join(into, 'classpath'), 'utf8')).trim();
  await run('javac', ['-proc:none', '-cp', jars, '-d', into, join(clients, 'java', 'Client.java')]);
  return `${into}:${jars}`;
}

/** The program in C++, over the code that protoc generates. */
async function buildCppClient(into: string): Promise<string> {
  const proto = join(import.meta.dirname, '../../proto');
  const { stdout: plugin } = await run('sh', ['-c', 'command -v grpc_cpp_plugin']);
  const generated = [
    `--cpp_out=${into}`,
    `--grpc_cpp_out=${into}`,
    `--plugin=protoc-gen-grpc_cpp=${plugin.trim()}`,
  ];
  await run('protoc', ['-I', proto, ...generated, 'layercache/v1/layer_cache.proto']);
  const { stdout: libraries } = await run('pkg-config', [
    '--cflags',
    '--libs',
    'grpc++',
    'protobuf',
    'libcrypto',
  ]);
  const sources = ['layer_cache.pb.cc', 'layer_cache.grpc.pb.cc'].map((file) =>
    join(into, 'layercache/v1', file),
  );
  const args = [
    '-std=c++17',
    '-O0',
    '-I',
    into,
    '-o',
    join(into, 'client'),
    join(clients, 'cpp', 'client.cc'),
  ];
  await run('g++', [...args, ...sources, ...libraries.trim().split(/\s+/)], { timeout: 120_000 });
  return join(into, 'client');
}

let goClient: ReturnType<typeof buildGoProgram>;
let cppClient: Promise<string>;
let javaClient: Promise<string>;
let tree: TemporaryTree;
let folder: string;
let digest: string;
let exists: Uint8Array;
let fetch: Uint8Array;
let missing: Uint8Array;
/** What every client must be told. */
let answers: Record<string, string>;
const servers = new Map<string, LayercacheProcess>();

beforeAll(async () => {
  tree = await TemporaryTree.create();
  folder = await mkdtemp(join(tmpdir(), 'layercache-clients-'));
  goClient = buildGoProgram(join(clients, 'go'));
  cppClient = mkdtemp(join(folder, 'cpp-')).then(buildCppClient);
  javaClient = mkdtemp(join(folder, 'java-')).then(buildJavaClient);
  // Whoever needs one is told of its failure.
  for (const built of [goClient, cppClient, javaClient]) built.catch(() => {});
  digest = await pushLayer(tree, repository, randomBytes(64 << 20));
  const absent = Array.from({ length: 999 }, (_, index) => `sha256:${index.toString(16).padStart(64, '0')}`);
  exists = ExistsRequest.encode({ repository, digest, maxAge: undefined }).finish();
  fetch = FetchRequest.encode({ ...FetchRequest.decode(Buffer.alloc(0)), repository, digest }).finish();
  missing = FindMissingRequest.encode({
    repository,
    digests: [digest, ...absent],
    maxAge: undefined,
  }).finish();
  for (const [name, message] of Object.entries({ exists, fetch, missing })) {
    await writeFile(join(folder, `${name}.message`), message);
  }
  await writeFile(join(folder, 'exists.bin'), grpcFrame(exists));
  const yes = ExistsResponse.encode({ exists: true, source: Source.SOURCE_CACHE }).finish();
  const found = sha256(FindMissingResponse.encode({ missingDigests: absent }).finish());
  answers = {
    exists: Buffer.from(yes).toString('hex'),
    again: Buffer.from(yes).toString('hex'),
    fetch: digest,
    cancelled: 'CANCELLED',
    overdue: 'DEADLINE_EXCEEDED',
    missing: found,
    compressed: found,
    unknown: 'UNIMPLEMENTED',
  };
  for (const transport of ['direct', 'grpc-js']) {
    const server = await LayercacheProcess.start([
      `--storage=file://${tree.root}`,
      `--transport=${transport}`,
    ]);
    servers.set(transport, server);
    await server.readyz(200);
    // The first answer is upstream's, all others are the cache's.
    const client = clientOf(server.listen);
    await asked(client, 'exists');
  }
}, 60_000);

afterAll(async () => {
  for (const server of servers.values()) await server.stop();
  await tree?.delete();
  await rm((await goClient).folder, { recursive: true, force: true });
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function clientOf(address: string, compressed = false): LayerCacheServiceClient {
  return new LayerCacheServiceClient(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    ...(compressed && { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip }),
  });
}

function asked(client: LayerCacheServiceClient, method: 'exists' | 'findMissing'): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const done = (encode: () => Uint8Array, error: ServiceError | null) =>
      error === null ? resolve(encode()) : reject(error);
    if (method === 'exists') {
      client.exists(ExistsRequest.decode(exists), (error, answer) =>
        done(() => ExistsResponse.encode(answer).finish(), error),
      );
    } else {
      client.findMissing(FindMissingRequest.decode(missing), (error, answer) =>
        done(() => FindMissingResponse.encode(answer).finish(), error),
      );
    }
  });
}

/** The same questions as those of the programs in `clients/`, by grpc-js. */
async function answersOf(address: string): Promise<Record<string, string>> {
  const client = clientOf(address);
  const zipped = clientOf(address, true);
  const request = FetchRequest.decode(fetch);
  const ended = (deadline: number, onFirst: (stream: ReturnType<typeof client.fetch>) => void) => {
    const stream = client.fetch(request, { deadline } as never);
    return new Promise<string>((resolve) => {
      stream.once('data', () => onFirst(stream));
      stream
        .on('end', () => resolve('OK'))
        .on('error', (error: ServiceError) => resolve(status[error.code] ?? ''));
    });
  };
  try {
    return {
      exists: Buffer.from(await asked(client, 'exists')).toString('hex'),
      fetch: await sha256Of(client.fetch(request)),
      cancelled: await ended(Date.now() + 30_000, (stream) => stream.cancel()),
      overdue: await ended(Date.now() + 100, (stream) => {
        stream.pause();
        setTimeout(() => stream.resume(), 300);
      }),
      missing: sha256(await asked(client, 'findMissing')),
      compressed: sha256(await asked(zipped, 'findMissing')),
      again: Buffer.from(await asked(client, 'exists')).toString('hex'),
    };
  } finally {
    client.close();
    zipped.close();
  }
}

/** Starts a proxy and resolves once it accepts; gone when the test ends. */
async function proxy(program: string, args: readonly string[], port: number): Promise<void> {
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let told = '';
  child.stderr?.on('data', (text) => {
    told += text;
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  for (let attempt = 0; ; attempt++) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (isUp) return;
    if (attempt > 100 || child.exitCode !== null) throw new Error(`${program} does not accept: ${told}`);
    await delay(50);
  }
}

describe.each(['direct', 'grpc-js'])('over %s', (transport) => {
  const address = () => (servers.get(transport) as LayercacheProcess).listen;

  it.each([
    ['Python', async () => ['/usr/bin/python3', join(clients, 'client.py')]],
    ['Ruby', async () => ['ruby', join(clients, 'client.rb')]],
    ['Go', async () => [(await goClient).program]],
    ['C++', async () => [await cppClient]],
    ['Java', async () => ['java', '-cp', await javaClient, 'Client']],
  ] as const)(
    '%s gets every answer, and can cancel, run out of time and compress',
    async (_language, command) => {
      const [program = '', ...first] = await command();
      const requests = ['exists', 'fetch', 'missing'].map((name) => join(folder, `${name}.message`));
      const { stdout } = await run(program, [...first, address(), ...requests], {
        timeout: 60_000,
        maxBuffer: 1 << 20,
      });
      expect(JSON.parse(stdout)).toEqual(answers);
    },
    70_000,
  );

  it('curl speaks HTTP/2 to it at once', async () => {
    const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers'];
    const body = ['--data-binary', `@${join(folder, 'exists.bin')}`];
    const { stdout } = await run(
      'curl',
      ['-sS', '--http2-prior-knowledge', ...headers, ...body, `http://${address()}${existsPath}`],
      { encoding: 'buffer', timeout: 20_000 },
    );
    expect(stdout.subarray(5).toString('hex')).toBe(answers['exists']);
  });

  it('nghttp gets headers, body and trailers', async () => {
    const { stdout } = await run(
      'nghttp',
      [
        '-v',
        '-d',
        join(folder, 'exists.bin'),
        '-H',
        'content-type: application/grpc',
        '-H',
        'te: trailers',
        `http://${address()}${existsPath}`,
      ],
      { timeout: 20_000 },
    );
    expect(stdout).toMatch(/:status: 200/);
    expect(stdout).toMatch(/grpc-status: 0/);
  });

  it('h2load has every one of many calls answered', async () => {
    const { stdout } = await run(
      'h2load',
      [
        '-n',
        '2000',
        '-c',
        '4',
        '-m',
        '20',
        '-d',
        join(folder, 'exists.bin'),
        '-H',
        'content-type: application/grpc',
        '-H',
        'te: trailers',
        `http://${address()}${existsPath}`,
      ],
      { timeout: 30_000 },
    );
    expect(stdout).toMatch(/2000 succeeded, 0 failed/);
  });

  it('through nginx a client gets the same answers', async () => {
    const port = await freePort();
    const home = await mkdtemp(join(folder, 'nginx-'));
    await writeFile(
      join(home, 'nginx.conf'),
      `daemon off; worker_processes 1; pid ${home}/pid; error_log stderr warn;
       events { worker_connections 64; }
       http {
         access_log off; client_body_temp_path ${home}/body; proxy_temp_path ${home}/proxy;
         fastcgi_temp_path ${home}/f; uwsgi_temp_path ${home}/u; scgi_temp_path ${home}/s;
         server {
           listen 127.0.0.1:${port} http2; client_max_body_size 2m;
           location / { grpc_pass grpc://${address()}; }
         }
       }`,
    );
    await proxy('/usr/sbin/nginx', ['-p', home, '-c', join(home, 'nginx.conf')], port);
    const { unknown: _, ...expected } = answers;
    expect(await answersOf(`127.0.0.1:${port}`)).toEqual(expected);
  }, 60_000);

  it('through HAProxy a client gets the same answers', async () => {
    const port = await freePort();
    const file = join(folder, `haproxy-${transport}.cfg`);
    await writeFile(
      file,
      `defaults
         mode http
         timeout connect 5s
         timeout client 60s
         timeout server 60s
       frontend in
         bind 127.0.0.1:${port} proto h2
         default_backend out
       backend out
         server one ${address()} proto h2\n`,
    );
    await proxy('/usr/sbin/haproxy', ['-db', '-f', file], port);
    const { unknown: _, ...expected } = answers;
    expect(await answersOf(`127.0.0.1:${port}`)).toEqual(expected);
  }, 60_000);
});
