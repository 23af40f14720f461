/** A registry's tree on a file system that makes inodes up, as FUSE, CIFS and some NFS mounts do. */
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobPath } from '../../src/reference/layout.js';
import { FuseMount, hasFuse } from '../parts/fuse-mount.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { parsePrometheus } from '../parts/prometheus-families.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');

function suite(): void {
  let tree: TemporaryTree;
  let mount: FuseMount;
  let server: LayercacheProcess;
  let client: LayerClient;
  beforeAll(async () => {
    tree = await TemporaryTree.create();
    mount = await FuseMount.mount(tree.root, join(tree.outside, 'mount'));
    server = await LayercacheProcess.start([`--storage=file://${mount.path}`, '--revalidate-after=0']);
    await server.readyz(200);
    client = new LayerClient(server.listen);
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
    mount?.unmount();
    await tree?.delete();
  });

  /** Operations of the storage by name. */
  async function operations(): Promise<Record<string, number>> {
    const families = parsePrometheus(await (await fetch(`http://${server.admin}/metrics`)).text());
    const counts: Record<string, number> = {};
    for (const { name, labels, value } of families.get('layercache_storage_operation_duration_seconds')
      ?.samples ?? [])
      if (name.endsWith('_count')) counts[String(labels['operation'])] = value;
    return counts;
  }

  it('rule 7: a small layer is served from memory although its inode changes from look to look', async () => {
    const bytes = randomBytes(10_000);
    const digest = await pushLayer(tree, repository, bytes);
    const other = await pushLayer(tree, repository, randomBytes(10));
    const seen = (of: typeof digest) => join(mount.path, blobPath(of));
    // The first is of upstream, the second hashes, the third finds it in memory.
    for (let round = 0; round < 2; round += 1)
      expect((await bytesOf(client.fetch(repository, digest))).bytes.equals(bytes)).toBe(true);
    const before = await operations();
    const { ino } = await stat(seen(digest));

    await mount.forget([seen(other)]);
    expect((await stat(seen(digest))).ino).not.toBe(ino);
    expect((await bytesOf(client.fetch(repository, digest))).bytes.equals(bytes)).toBe(true);
    const after = await operations();
    expect(after['open']).toBe(before['open']);
    expect(after['stat']).toBe((before['stat'] ?? 0) + 1);
  });

  it('rule 7: a blob that is replaced is another version all the same', async () => {
    const bytes = randomBytes(10_000);
    const digest = await pushLayer(tree, repository, bytes);
    for (let round = 0; round < 2; round += 1) await bytesOf(client.fetch(repository, digest));
    await tree.put(blobPath(digest), randomBytes(10_000));
    await mount.forget([]);
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toThrow(/DATA_LOSS/);
  });
}

// Where the machine has no FUSE the same is shown by test/storage/file/file-driver.test.ts.
if (hasFuse) describe('on a FUSE mount', suite);
else it('there is no /dev/fuse', () => expect(hasFuse).toBe(false));
