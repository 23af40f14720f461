/**
 * A real object store of the test's own: Ceph's RADOS gateway, which speaks S3,
 * over one monitor and one memory-backed OSD, on free ports of the loopback.
 * Whoever starts one stops it; what a test leaves behind ends with its process.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { freePort } from './free-port.ts';
import { pauseProcess } from './paused-process.ts';

/** A bucket that a test fills. */
export class Bucket {
  readonly name: string;
  readonly #gateway: RadosGateway;
  readonly #client: S3Client;

  constructor(name: string, gateway: RadosGateway, client: S3Client) {
    this.name = name;
    this.#gateway = gateway;
    this.#client = client;
  }

  /** What `--storage` takes: the folder of that name as root, at the gateway or what stands before it. */
  url(
    prefix = '',
    { port = this.#gateway.port, ...more }: { port?: number; [parameter: string]: string | number } = {},
  ): string {
    const query = new URLSearchParams({ endpoint: `http://127.0.0.1:${port}`, 'path-style': 'true' });
    for (const [name, value] of Object.entries(more)) query.set(name, String(value));
    return `s3://${this.name}/${prefix}?${query}`;
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.#client.send(new PutObjectCommand({ Bucket: this.name, Key: key, Body: bytes }));
  }

  async remove(key: string): Promise<void> {
    await this.#client.send(new DeleteObjectCommand({ Bucket: this.name, Key: key }));
  }

  /** Lets another user do these things, and nothing else. */
  async grant(user: string, actions: readonly string[]): Promise<void> {
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: [`arn:aws:iam:::user/${user}`] },
          Action: actions,
          Resource: [`arn:aws:s3:::${this.name}`, `arn:aws:s3:::${this.name}/*`],
        },
      ],
    });
    await this.#client.send(new PutBucketPolicyCommand({ Bucket: this.name, Policy }));
  }
}

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

type Daemon = 'ceph-mon' | 'ceph-osd' | 'radosgw';

const startTimeoutMs = 30_000;
const run = promisify(execFile);

export class RadosGateway {
  /** Where S3 is spoken. */
  readonly port: number;
  readonly region = 'us-east-1';
  readonly credentials: Credentials = {
    accessKeyId: 'LAYERCACHETESTKEY',
    secretAccessKey: 'layercache/test+secret',
  };
  readonly #directory: string;
  readonly #osdId = randomUUID();
  readonly #clusterId = randomUUID();
  readonly #children = new Map<Daemon, ChildProcess>();
  readonly #clients = new Set<S3Client>();
  readonly #killAtExit = () => {
    for (const child of this.#children.values()) child.kill('SIGKILL');
  };

  private constructor(port: number, directory: string) {
    this.port = port;
    this.#directory = directory;
    process.on('exit', this.#killAtExit);
  }

  /** Resolves when it answers. */
  static async start(): Promise<RadosGateway> {
    // A port that was free a moment ago may be taken by another test's server.
    for (let attempt = 1; ; attempt++) {
      const directory = await mkdtemp(join(tmpdir(), 'layercache-rados-'));
      const gateway = new RadosGateway(await freePort(), directory);
      try {
        await gateway.#begin(await freePort());
        return gateway;
      } catch (error) {
        await gateway.stop();
        if (attempt === 3) throw error;
      }
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The credentials as the standard chain finds them in an environment. */
  get environment(): Record<string, string> {
    return environmentOf(this.credentials);
  }

  /** A plain client; `stop` closes it. */
  client(endpoint = this.endpoint): S3Client {
    const { region, credentials } = this;
    const client = new S3Client({
      endpoint,
      region,
      credentials,
      forcePathStyle: true,
      // A stream can be put as it is, without a checksum in a trailer.
      requestChecksumCalculation: 'WHEN_REQUIRED',
    });
    this.#clients.add(client);
    return client;
  }

  /** Makes an empty bucket of a new name. */
  async createBucket(): Promise<Bucket> {
    const name = `b-${randomUUID()}`;
    const client = this.client();
    await client.send(new CreateBucketCommand({ Bucket: name }));
    return new Bucket(name, this, client);
  }

  /** Makes a user who may do nothing yet. */
  async createUser(user: string, { accessKeyId, secretAccessKey }: Credentials): Promise<void> {
    await this.#run('radosgw-admin', [
      ...['-n', 'client.rgw', 'user', 'create', `--uid=${user}`, `--display-name=${user}`],
      ...['--access-key', accessKeyId, '--secret-key', secretAccessKey],
    ]);
  }

  /** SIGSTOP: connections stay, and are even accepted; nothing is answered. */
  pause(daemon: Daemon): Promise<void> {
    return pauseProcess(this.#children.get(daemon));
  }

  /** SIGCONT. */
  resume(daemon: Daemon): void {
    this.#children.get(daemon)?.kill('SIGCONT');
  }

  /** SIGKILL to the gateway; resolves when it is gone. What it stored stays. */
  async kill(): Promise<void> {
    await this.#kill('radosgw');
  }

  /** Starts the gateway again on the same port; resolves when it answers. */
  async restart(): Promise<void> {
    await this.kill();
    await this.#serve();
  }

  /** Ends everything and removes the directory. Idempotent. */
  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    this.#clients.clear();
    for (const daemon of ['radosgw', 'ceph-osd', 'ceph-mon'] as const) await this.#kill(daemon);
    process.off('exit', this.#killAtExit);
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #begin(monitorPort: number): Promise<void> {
    const monitor = `[v1:127.0.0.1:${monitorPort}]`;
    for (const folder of ['mon', 'osd']) await mkdir(join(this.#directory, folder));
    await writeFile(join(this.#directory, 'keyring'), '');
    await writeFile(join(this.#directory, 'ceph.conf'), this.#config(monitor));
    const map = join(this.#directory, 'monmap');
    await this.#run('monmaptool', ['--create', '--fsid', this.#clusterId, '--addv', 'a', monitor, map]);
    await this.#run('ceph-mon', ['-i', 'a', '--mkfs', '--monmap', map]);
    this.#spawn('ceph-mon', ['-i', 'a', '-f']);
    await this.#run('ceph', ['osd', 'new', this.#osdId, '0']);
    await this.#run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', this.#osdId]);
    this.#spawn('ceph-osd', ['-i', '0', '-f']);
    // Now and then it dies at its start.
    const watch = setInterval(() => {
      if (!this.#runs('ceph-osd')) this.#spawn('ceph-osd', ['-i', '0', '-f']);
    }, 100);
    try {
      await Promise.all([this.#serve(), this.createUser('test', this.credentials)]);
    } finally {
      clearInterval(watch);
    }
  }

  async #serve(): Promise<void> {
    this.#spawn('radosgw', ['-n', 'client.rgw', '-f']);
    const deadline = Date.now() + startTimeoutMs;
    for (;;) {
      try {
        await (await fetch(this.endpoint)).arrayBuffer();
        return;
      } catch (error) {
        if (Date.now() > deadline || !this.#runs('radosgw')) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  #runs(daemon: Daemon): boolean {
    const child = this.#children.get(daemon);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  #spawn(daemon: Daemon, args: readonly string[]): void {
    this.#children.set(daemon, spawn(daemon, args, { stdio: 'ignore', env: this.#environment }));
  }

  async #kill(daemon: Daemon): Promise<void> {
    const child = this.#children.get(daemon);
    if (child === undefined || !this.#runs(daemon)) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    const { stdout } = await run(program, args, { env: this.#environment, timeout: startTimeoutMs });
    return stdout;
  }

  get #environment(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], CEPH_CONF: join(this.#directory, 'ceph.conf') };
  }

  // Without the two of paxos the start takes 13 s; without tcp_nodelay a small request takes 48 ms.
  #config(monitor: string): string {
    const directory = this.#directory;
    return `[global]
fsid = ${this.#clusterId}
mon host = ${monitor}
ms bind msgr2 = false
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
keyring = ${directory}/keyring
run dir = ${directory}
log file = ${directory}/$name.log
admin socket = ${directory}/$name.$pid.asok
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
paxos propose interval = 0.05
paxos min wait = 0.01
mon data avail warn = 1
mon data avail crit = 0
mon data = ${directory}/mon
osd data = ${directory}/osd
osd objectstore = memstore
memstore device bytes = 4G
rgw frontends = beast endpoint=127.0.0.1:${this.port} tcp_nodelay=1
rgw run sync thread = false
`;
  }
}

/** As the standard chain finds them. */
export function environmentOf({ accessKeyId, secretAccessKey }: Credentials): Record<string, string> {
  return { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
}
