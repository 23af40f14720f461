/** The faults that the alerts tell of: each is injected into a world that runs, and mended again. */
import { copyFile, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { linkPath } from '../../src/reference/layout.js';
import { bytesOf } from '../parts/layer-client.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { until } from '../parts/workers-world.js';
import { digestNamed, pushCorrupt } from './every-call.js';
import { type MonitoredWorld, maxConnections, repository } from './monitored-world.js';

export interface Fault {
  readonly alert: string;
  /** The target that the alert names. */
  readonly instance: string;
  mend(): Promise<void>;
}

const now = { seconds: 0n, nanos: 0 };

/** Each as the alert's name says, all of them at once. */
export function injectAll(world: MonitoredWorld): Promise<Fault[]> {
  return Promise.all([
    hungRedis(world),
    lostStorage(world),
    deletedLayers(world),
    corruptBlobs(world),
    slowStorage(world),
    tooManyConnections(world),
    unreadLog(world),
    {
      alert: 'LayercacheDown',
      instance: world.vacantTarget,
      mend: () => world.fillVacancy(),
    },
    {
      alert: 'LayercacheNotReady',
      instance: world.server('unready').admin,
      mend: async () => {
        await mkdir(join(world.missingRoot, 'docker', 'registry', 'v2'), { recursive: true });
      },
    },
    {
      alert: 'LayercacheCertificateExpires',
      instance: world.server('secured').admin,
      mend: () => renewCertificate(world),
    },
  ]);
}

async function hungRedis(world: MonitoredWorld): Promise<Fault> {
  world.redis.pause();
  return {
    alert: 'LayercacheCacheDown',
    instance: world.server('workers').admin,
    mend: async () => world.redis.resume(),
  };
}

async function lostStorage(world: MonitoredWorld): Promise<Fault> {
  const { root } = world.sharedTree;
  await rename(root, `${root}-gone`);
  return {
    alert: 'LayercacheStorageDown',
    instance: world.server('workers').admin,
    mend: () => rename(`${root}-gone`, root),
  };
}

/** Layers that the cache knows and storage has no more. */
async function deletedLayers(world: MonitoredWorld): Promise<Fault> {
  const client = world.client();
  const stop = repeated(async (turn) => {
    const digest = await pushLayer(world.loneTree, repository, Buffer.from(`deleted ${turn}`));
    await client.exists(repository, digest);
    await world.loneTree.remove(linkPath(repository, digest));
    await client.exists(repository, digest, now);
  });
  return { alert: 'LayercacheWrongHits', instance: world.server('alone').admin, mend: stop };
}

async function corruptBlobs(world: MonitoredWorld): Promise<Fault> {
  const client = world.client();
  const stop = repeated(async (turn) => {
    const digest = await pushCorrupt(world.loneTree, repository, `corrupt ${turn}`);
    await bytesOf(client.fetch(repository, digest)).catch(() => {});
  });
  return { alert: 'LayercacheCorruptBlobs', instance: world.server('alone').admin, mend: stop };
}

/** Of Stat only, and of a layer that nobody else asks for. */
async function slowStorage(world: MonitoredWorld): Promise<Fault> {
  const client = world.client();
  const slow = digestNamed('slow');
  const fault = { calls: ['open'], path: `/${slow.replace('sha256:', '')}/link`, delay: 900 };
  await writeFile(world.faultFile, JSON.stringify(fault));
  const stop = repeated(async () => {
    await Promise.allSettled(Array.from({ length: 50 }, () => client.stat(repository, slow)));
  });
  const mend = async () => {
    await rm(world.faultFile);
    await stop();
  };
  return { alert: 'LayercacheSlow', instance: world.server('alone').admin, mend };
}

async function tooManyConnections(world: MonitoredWorld): Promise<Fault> {
  const [host = '', port] = world.server('alone').listen.split(':');
  const sockets = new Set<Socket>();
  const stop = repeated(async () => {
    const refused = new Promise<void>((resolve) => {
      const socket = connect({ host, port: Number(port) });
      sockets.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(socket);
          resolve();
        });
      socket.on('connect', () => {
        if (sockets.size < maxConnections) resolve();
      });
    });
    await refused;
  });
  const mend = async () => {
    await stop();
    for (const socket of sockets) socket.destroy();
  };
  return { alert: 'LayercacheRefusals', instance: world.server('alone').admin, mend };
}

async function unreadLog(world: MonitoredWorld): Promise<Fault> {
  const server = world.server('alone');
  const clients = [world.client(), world.client()];
  // The longest names that there are make the longest lines.
  const longest = repositoryNamed(`${'a'.repeat(250)}/app`);
  const digest = `sha512:${'e'.repeat(128)}`;
  server.ignoreLog();
  const dropped = async () => {
    const metrics = await (await fetch(`http://${server.admin}/metrics`)).text();
    return Number(/^layercache_log_dropped_total (\d+)$/m.exec(metrics)?.[1]) > 0;
  };
  await until(async () => {
    const calls = clients.flatMap((client) =>
      Array.from({ length: 250 }, () => client.contains(longest, digest)),
    );
    await Promise.all(calls);
    return dropped();
  });
  return { alert: 'LayercacheLogDropped', instance: server.admin, mend: async () => server.readLog() };
}

async function renewCertificate({ authority, pair }: MonitoredWorld): Promise<void> {
  const { certFile, keyFile } = await authority.issue({ names: ['DNS:localhost'], days: 90 });
  await Promise.all([copyFile(certFile, pair.cert), copyFile(keyFile, pair.key)]);
}

/** Does it again and again, five times a second at most; returns how to stop. */
function repeated(action: (turn: number) => Promise<unknown>): () => Promise<void> {
  let stopped = false;
  const running = (async () => {
    for (let turn = 0; !stopped; turn++) {
      await action(turn);
      await sleep(200);
    }
  })();
  return async () => {
    stopped = true;
    await running;
  };
}
