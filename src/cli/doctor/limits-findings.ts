/** Whether what this machine allows is enough for what the options allow. */
import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../options.js';
import { type Finding, fail, ok, warn } from './finding.js';

const mib = 1024 * 1024;
/** Threads of Node itself, V8's and the compiler's included. */
const nodeThreads = 12;
/** The threads of the file driver and what needs one besides; `bin/layercache.cjs` sets them. */
const poolThreads = 16;
/** Descriptors beside those of connections and Fetches: the program's own, Redis, lookups, an object store's connections. */
const otherDescriptors = 400;
/** MiB of an idle process, of a Fetch whose client stalls and of an idle connection. */
const idleMib = 80;
const streamMib = 0.4;
const connectionMib = 0.02;

/** Where the kernel tells of this process and its control group. */
export interface KernelFiles {
  readonly proc: string;
  readonly cgroup: string;
}

export const kernelFiles: KernelFiles = { proc: '/proc/self', cgroup: '/sys/fs/cgroup' };

export async function limitsFindings(config: Config, files: KernelFiles = kernelFiles): Promise<Finding[]> {
  return [
    await descriptorFinding(config, files),
    await threadFinding(config, files),
    await memoryFinding(config, files),
  ].flat();
}

async function descriptorFinding(config: Config, { proc }: KernelFiles): Promise<Finding[]> {
  const limits = await text(join(proc, 'limits'));
  const limit = limitOf(limits, 'Max open files');
  if (limit === undefined) return [];
  // A Fetch holds a file or a connection to the store.
  const most = config['max-connections'] + config['max-streams'] + otherDescriptors;
  const what = 'limits: descriptors';
  if (limit >= most) return [ok(what, `${limit} may be open, ${most} at most are needed`)];
  const cause = `${limit} may be open; ${config['max-connections']} connections and ${config['max-streams']} Fetches need up to ${most}`;
  const advice = `Raise the limit (ulimit -n, LimitNOFILE=) to ${most}, or lower --max-connections and --max-streams.`;
  return [limit < otherDescriptors ? fail(what, cause, advice) : warn(what, cause, advice)];
}

async function threadFinding(config: Config, files: KernelFiles): Promise<Finding[]> {
  const what = 'limits: threads';
  const pool = Number(process.env['UV_THREADPOOL_SIZE']) || poolThreads;
  const needed = config.workers * (pool + nodeThreads);
  const group = await groupValues('pids.max', 'pids', files);
  const limits = [
    limitOf(await text(join(files.proc, 'limits')), 'Max processes'),
    ...group.map(Number),
  ].filter((limit) => limit !== undefined && !Number.isNaN(limit));
  const limit = Math.min(...(limits as number[]));
  if (limit < needed)
    return [
      fail(
        what,
        `${limit} processes and threads may run, and up to ${needed} are needed`,
        'Raise the limit (ulimit -u, TasksMax=, pids.max), or lower --workers.',
      ),
    ];
  return [ok(what, `up to ${needed} may run, ${pool} of each process for files and names`)];
}

async function memoryFinding(config: Config, files: KernelFiles): Promise<Finding[]> {
  const what = 'limits: memory';
  const group = [
    ...(await groupValues('memory.max', '', files)),
    ...(await groupValues('memory.limit_in_bytes', 'memory', files)),
  ].map(Number);
  const limit = Math.min(totalmem(), ...group.filter((each) => !Number.isNaN(each))) / mib;
  const small = config['small-layers'] / mib;
  const least = config.workers * (idleMib + small);
  const most =
    config.workers *
    (idleMib + small + streamMib * config['max-streams'] + connectionMib * config['max-connections']);
  const cause = `${Math.round(limit)} MiB may be used; ${config.workers} ${config.workers === 1 ? 'process' : 'processes'}`;
  if (limit < least)
    return [
      fail(
        what,
        `${cause} with --small-layers take ${Math.round(least)} MiB without a single call`,
        'Raise the limit, or lower --workers and --small-layers.',
      ),
    ];
  if (limit < most)
    return [
      warn(
        what,
        `${cause} may take ${Math.round(most)} MiB when every Fetch stalls`,
        'Raise the limit, or lower --max-streams, --max-connections and --small-layers.',
      ),
    ];
  return [ok(what, `${cause} may take ${Math.round(most)} MiB at most`)];
}

/** The soft limit of that name; `Infinity` where there is none, `undefined` where the kernel does not tell. */
function limitOf(limits: string | undefined, name: string): number | undefined {
  const soft = new RegExp(`^${name} +(\\S+)`, 'm').exec(limits ?? '')?.[1];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

/** The values of that file in the control group of this process and in all above it; of the old hierarchy of `controller`, unless that is ''. */
async function groupValues(file: string, controller: string, files: KernelFiles): Promise<string[]> {
  const groups = (await text(join(files.proc, 'cgroup'))) ?? '';
  const values: string[] = [];
  for (const [, controllers = '', path = ''] of groups.matchAll(/^\d+:([^:]*):(.*)$/gm)) {
    if (controllers !== '' && !controllers.split(',').includes(controller)) continue;
    const hierarchy = join(files.cgroup, controllers === '' ? '' : controller);
    // In a container the path may be that of the host, and only the root is there.
    const parts = path.split('/').filter((part) => part !== '');
    for (let depth = parts.length; depth >= 0; depth--) {
      const value = await text(join(hierarchy, ...parts.slice(0, depth), file));
      if (value !== undefined) values.push(value.trim());
    }
  }
  return values;
}

async function text(path: string): Promise<string | undefined> {
  // Not every kernel has it.
  return readFile(path, 'utf8').catch(() => undefined);
}
