#!/usr/bin/env node
// CommonJS, and in words that an old Node understands: what is checked and set
// here must come before the first module of the server is loaded. The size of
// the thread pool is read once, at its first use, which on Node 22 an ES module
// entry point has already made.
'use strict';

const floor = [22, 15];
const version = process.versions.node.split('.').map(Number);

if (version[0] < floor[0] || (version[0] === floor[0] && version[1] < floor[1])) {
  console.error(
    `layercache: needs Node ${floor.join('.')} or newer, and this is ${process.versions.node} (${process.execPath})`,
  );
  process.exit(1);
}

// Twelve threads may be waiting for a hung storage (the file driver's bound);
// what else needs a thread, such as DNS, must still find one.
const threads = 16;
if (!(Number(process.env.UV_THREADPOOL_SIZE) >= threads)) process.env.UV_THREADPOOL_SIZE = String(threads);

const path = require('node:path');
const root = path.dirname(__dirname);
const main = path.join(root, 'dist', 'layercache.js');

if (require('node:fs').existsSync(main)) {
  import(require('node:url').pathToFileURL(main).href).then(({ main }) => main(process.argv.slice(2)));
} else {
  console.error(`layercache: not built yet; run "npm ci && npm run build" in ${root}`);
  process.exit(1);
}
