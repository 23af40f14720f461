// A storage driver over a directory: layercache --storage "module:./driver.mjs?root=/mnt/layers"
import { access, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const named = (name, message, cause) => Object.assign(new Error(message, { cause }), { name });
const versionOf = ({ size, mtimeNs, ino }) => `${size}-${mtimeNs}-${ino}`;
const whole = { offset: 0, limit: 0 };

export default function openDriver(parameters) {
  const root = parameters.get('root');
  if (root === null) throw new Error('the parameter root is missing');
  const readers = new Set();
  const check = () => access(join(root, '/docker/registry/v2'));

  // A file that is missing is absent only while the storage itself is there.
  const asAbsence = async (error) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
    await check();
    throw named('PathNotFoundError', 'nothing there', error);
  };

  const openBlob = async (path, { offset, limit }) => {
    const file = await open(join(root, path)).catch(asAbsence);
    const stat = await file.stat({ bigint: true }).catch(async (error) => {
      await file.close();
      throw error;
    });
    const [size, version] = [Number(stat.size), versionOf(stat)];
    const end = limit === 0 ? size : Math.min(size, offset + limit);
    let position = offset;
    const reader = {
      read: async (into) => {
        const length = Math.max(0, Math.min(into.length, end - position));
        const { bytesRead } = await file.read(into, 0, length, position);
        position += bytesRead;
        return bytesRead;
      },
      unchanged: async () => versionOf(await file.stat({ bigint: true })) === version,
      close: () => (readers.delete(reader) ? file.close() : undefined),
    };
    readers.add(reader);
    if (stat.isFile()) return { size, version, reader };
    await reader.close();
    throw named('PathNotFoundError', 'not a file');
  };

  const withBlob = async (path, use) => {
    const blob = await openBlob(path, whole);
    return Promise.resolve(use(blob)).finally(blob.reader.close);
  };

  return {
    name: 'directory',
    open: openBlob,
    stat: (path) => withBlob(path, ({ size, version }) => ({ size, version })),
    readSmall: (path) =>
      withBlob(path, async ({ size, reader }) => {
        if (size > 4096) throw named('FileTooLongError', 'longer than 4096 bytes');
        const bytes = Buffer.alloc(size);
        return bytes.subarray(0, await reader.read(bytes));
      }),
    list: async function* (path) {
      const names = await readdir(join(root, path)).catch(asAbsence);
      for (let at = 0; at < names.length; at += 1000) yield names.slice(at, at + 1000);
    },
    check,
    redirectUrl: async () => undefined,
    close: async () => void (await Promise.all([...readers].map((reader) => reader.close()))),
  };
}
