/**
 * The real file driver over a file system that fails when it is told to, for the server to
 * load: `module:test/parts/faulty-file-driver.mjs?root=…&timeout=<ms>&fault=<file>`. While
 * that file exists it holds, as JSON, what befalls each call that it is about:
 *
 *   calls   names of file-system calls, such as "read"; absent: all
 *   path    what the path ends with; absent: any
 *   code    the call fails with this error code
 *   hang    the call waits in its thread of the pool, until somebody opens that FIFO to write
 *   delay   the call waits so many milliseconds
 *   remove  this file is deleted before the call is made
 */

import { close, open, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileDriver } from '../../dist/storage/file/file-driver.js';
import { NodeFileSystem } from '../../dist/storage/file/file-system.js';

export default function openDriver(parameters) {
  const files = new FaultyFileSystem(parameters.get('fault'));
  const options = {
    root: parameters.get('root'),
    timeoutMs: Number(parameters.get('timeout')),
    also: [],
    allowEmpty: false,
  };
  return new FileDriver(options, files);
}

class FaultyFileSystem extends NodeFileSystem {
  #faultFile;
  #paths = new Map();

  constructor(faultFile) {
    super();
    this.#faultFile = faultFile;
  }

  async open(path) {
    await this.#meet('open', path);
    const fd = await super.open(path);
    this.#paths.set(fd, path);
    return fd;
  }

  async openDirectory(path) {
    await this.#meet('openDirectory', path);
    return super.openDirectory(path);
  }

  async fstat(fd) {
    await this.#meet('fstat', this.#paths.get(fd) ?? '');
    return super.fstat(fd);
  }

  async stat(path) {
    await this.#meet('stat', path);
    return super.stat(path);
  }

  async read(fd, into, length, position) {
    await this.#meet('read', this.#paths.get(fd) ?? '');
    return super.read(fd, into, length, position);
  }

  async #meet(call, path) {
    const fault = this.#fault();
    if (fault === undefined || fault.calls?.includes(call) === false) return;
    if (fault.path !== undefined && !path.endsWith(fault.path)) return;
    if (fault.remove !== undefined) rmSync(fault.remove, { force: true });
    if (fault.hang !== undefined) await hangIn(fault.hang);
    if (fault.delay !== undefined) await sleep(fault.delay);
    if (fault.code !== undefined)
      throw Object.assign(new Error(`${fault.code}: ${call}`), { code: fault.code });
  }

  #fault() {
    try {
      return JSON.parse(readFileSync(this.#faultFile, 'utf8'));
    } catch (error) {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}

/** A FIFO without a writer holds the thread that opens it. */
function hangIn(fifo) {
  return new Promise((resolve, reject) => {
    open(fifo, 'r', (error, fd) => (error ? reject(error) : close(fd, () => resolve())));
  });
}
