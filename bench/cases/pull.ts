/** The time of a pull through `examples/frontend/`, beside one from the registry alone. */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DockerRegistry } from '../../test/parts/docker-registry.ts';
import { type Bench, full } from '../bench.ts';
import { freePort } from '../free-port.ts';
import { clientCore, serverCore } from '../processes.ts';
import { interleaved, type Subject } from '../rounds.ts';
import { ratio } from '../series.ts';
import type { Layercache } from '../servers/layercache.ts';
import { startDockerRegistry } from '../servers/peers.ts';
import type { Case } from './case.ts';

const layers = 5;
const layerLength = 100_000_000;
const repository = 'bench/image';
const patience = 120;
const frontendProgram = join(import.meta.dirname, '..', '..', 'examples', 'frontend', 'frontend.ts');

export const pull: Case = {
  name: 'pull',
  title: `A pull of ${(layers * layerLength) / 1e6} MB in ${layers} layers by skopeo, through a frontend and from the registry`,
  needs: ['redis-server', 'docker-registry', 'skopeo'],
  onlyByName: true,
  async run(bench) {
    const root = join(bench.folder, 'registry');
    await pushed(root);
    const redis = await bench.redis();
    const { folder, processes } = bench;
    const registry = await startDockerRegistry(processes, { root, redisPort: redis.port, folder });
    const layercache = await bench.layercache('frontend', full, {
      cache: redis.url,
      storage: `file://${root}`,
    });
    const port = await startFrontend(bench, registry.port, layercache.port);
    const series = await interleaved(bench, [
      pulled(bench, 'through the frontend', port, layercache),
      pulled(bench, 'from the registry', registry.port),
    ]);
    return {
      name: this.name,
      title: this.title,
      series,
      comparisons: ratio(series[0], series[1], { atMost: true }),
      notes: [
        'Registry, layercache and frontend share one core, skopeo and Redis the other. skopeo takes all layers at once, hashes them and writes them to a folder.',
      ],
    };
  },
};

/** An image that does not compress. */
async function pushed(root: string): Promise<void> {
  const registry = await DockerRegistry.start({ root });
  try {
    const contents = Array.from({ length: layers }, () => randomBytes(layerLength));
    await registry.pushImage(repository, contents);
  } finally {
    await registry.stop();
  }
}

async function startFrontend(bench: Bench, registryPort: number, layercachePort: number): Promise<number> {
  const port = await freePort();
  const args = [
    ...['--registry', `http://127.0.0.1:${registryPort}`, '--layercache', `127.0.0.1:${layercachePort}`],
    ...['--listen', `127.0.0.1:${port}`],
  ];
  const child = bench.processes.start(process.execPath, [frontendProgram, ...args], { core: serverCore });
  child.stderr?.resume();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.stdout?.once('data', () => resolve());
  child.once('exit', () => reject(new Error('the frontend ended')));
  await promise;
  return port;
}

/** Seconds of one pull; through layercache, where it is given, with every blob a hit of its. */
function pulled(bench: Bench, name: string, port: number, layercache?: Layercache): Subject {
  const to = join(bench.folder, 'pulled');
  return {
    name,
    telemetry: layercache?.telemetry ?? 'none',
    unit: 's',
    measure: async (_, proven) => {
      const before = await layercache?.counts();
      const from = `docker://127.0.0.1:${port}/${repository}:latest`;
      const args = ['--insecure-policy', 'copy', '--quiet', '--retry-times=0', '--src-tls-verify=false'];
      const begunAt = performance.now();
      await bench.processes.run('skopeo', [...args, from, `dir:${to}`], { core: clientCore }, patience);
      const seconds = (performance.now() - begunAt) / 1000;
      rmSync(to, { recursive: true });
      const after = await layercache?.counts();
      // The layers and the configuration.
      const hits = (after?.['hits'] ?? 0) - (before?.['hits'] ?? 0);
      if (proven && layercache !== undefined && hits !== layers + 1)
        throw new Error(`${hits} blobs of the pull were hits, not ${layers + 1}`);
      return { value: seconds };
    },
  };
}
