/**
 * Writes what a release consists of into a folder: the package, what is in it,
 * what has changed, the API, where it was built from, and the checksums of all.
 * The same commit gives the same bytes, whoever builds it and whenever.
 *
 *     node tools/release.mjs [--preview] [FOLDER]
 *
 * `--preview` takes the changelog's section of what is not released yet, if it has anything.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = join(import.meta.dirname, '..');
const flags = process.argv.slice(2);
const preview = flags.includes('--preview');
const folder = resolve(root, flags.find((flag) => !flag.startsWith('--')) ?? 'release');
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

try {
  release();
} catch (error) {
  console.error(`release: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}

function release() {
  const changes = (preview && changesOf('Unreleased').trim()) || changesOf(version);
  const commit = run('git', ['rev-parse', 'HEAD']);
  const committed = new Date(Number(run('git', ['log', '-1', '--format=%ct'])) * 1000).toISOString();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const file = (suffix) => join(folder, `${name}-${version}${suffix}`);

  run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder]);
  const digest = sha256(file('.tgz'));
  writeFileSync(file('.cdx.json'), materials(digest, committed));
  writeFileSync(file('.md'), changes);
  copyFileSync(join(root, 'proto/layercache/v1/layer_cache.proto'), file('.proto'));
  copyFileSync(join(root, 'dist/gen/layercache.binpb'), file('.binpb'));
  writeFileSync(file('.intoto.json'), provenance(file('.tgz'), digest, commit));

  const sums = readdirSync(folder)
    .sort()
    .map((each) => `${sha256(join(folder, each))}  ${each}\n`);
  writeFileSync(join(folder, 'SHA256SUMS'), sums.join(''));
  process.stdout.write(sums.join(''));
}

/** The section of the changelog, without its title. */
function changesOf(title) {
  const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  const section = changelog.split(/^## /m).find((each) => each.startsWith(`[${title}]`));
  if (section === undefined) throw new Error(`CHANGELOG.md has no section [${title}]`);
  return `${section.split('\n').slice(1).join('\n').trim()}\n`;
}

/** The CycloneDX list, with an identity and a time that follow from the package and its commit. */
function materials(digest, committed) {
  const list = JSON.parse(run('node', [join(root, 'tools/sbom.mjs')]));
  const hex = digest.slice(0, 32).split('');
  // A UUID of version 8: bits of our own.
  hex[12] = '8';
  hex[16] = '8';
  list.serialNumber = `urn:uuid:${hex.join('').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')}`;
  list.metadata.timestamp = committed;
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** An in-toto statement with SLSA's provenance, to be signed by whoever releases. */
function provenance(packageFile, digest, commit) {
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: packageFile.slice(folder.length + 1), digest: { sha256: digest } }],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'npm run release',
        externalParameters: { version },
        resolvedDependencies: [
          { name: 'source', digest: { gitCommit: commit } },
          { name: 'package-lock.json', digest: { sha256: sha256(join(root, 'package-lock.json')) } },
        ],
      },
      runDetails: { builder: { id: 'whoever signs this statement' } },
    },
  };
  return `${JSON.stringify(statement, null, 2)}\n`;
}

function sha256(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** Runs a program in the project and returns what it prints. */
function run(program, args) {
  return execFileSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 }).trim();
}
