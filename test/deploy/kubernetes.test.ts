/**
 * deploy/kubernetes: each overlay rendered by kubectl, each of its objects valid
 * and typed by Kubernetes' own API, and what they say of one another.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import { Deployment } from 'kubernetes-models/apps/v1';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import { CronJob } from 'kubernetes-models/batch/v1';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { ConfigMap, Service, ServiceAccount } from 'kubernetes-models/v1';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { root } from '../parts/docs-pages.js';
import { portOf, unknownNames } from './deployed-program.js';
import { imageEnvironment } from './image.js';
import {
  containerOf,
  type Kinds,
  overlays,
  present,
  programOf,
  RenderedOverlay,
  selects,
} from './rendered-overlay.js';

const models = {
  ConfigMap,
  CronJob,
  Deployment,
  HorizontalPodAutoscaler,
  NetworkPolicy,
  PodDisruptionBudget,
  Service,
  ServiceAccount,
  ServiceMonitor,
};
/** Where each kind's type is found. */
const modules: Readonly<Record<keyof Kinds, string>> = {
  ConfigMap: 'kubernetes-models/v1',
  CronJob: 'kubernetes-models/batch/v1',
  Deployment: 'kubernetes-models/apps/v1',
  HorizontalPodAutoscaler: 'kubernetes-models/autoscaling/v2',
  NetworkPolicy: 'kubernetes-models/networking.k8s.io/v1',
  PodDisruptionBudget: 'kubernetes-models/policy/v1',
  Service: 'kubernetes-models/v1',
  ServiceAccount: 'kubernetes-models/v1',
  ServiceMonitor: '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
};
const rendered = new Map<string, RenderedOverlay>();
beforeAll(async () => {
  for (const name of overlays) rendered.set(name, await RenderedOverlay.render(name));
});

function overlay(name: string): RenderedOverlay {
  return present(rendered.get(name));
}

describe.each(overlays)('overlays/%s', (name) => {
  it('has one of each kind, valid by the validators of the API', () => {
    const { objects } = overlay(name);
    expect(new Set(objects.map(({ kind }) => kind))).toEqual(new Set(Object.keys(models)));
    for (const object of objects) {
      const Model = models[object.kind] as new (data: object) => { validate(): void };
      new Model(object).validate();
      expect(object).toMatchObject({ apiVersion: (Model as unknown as { apiVersion: string }).apiVersion });
      expect(object.metadata?.namespace).toBe('registry');
    }
  });

  it('its pods run without privilege, on a file system that they cannot write', () => {
    const { server, audit } = overlay(name);
    for (const pod of [server, audit]) {
      expect(pod.spec).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      });
      expect(containerOf(pod)).toMatchObject({
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        resources: {
          requests: { cpu: expect.any(String), memory: expect.any(String) },
          limits: { memory: expect.any(String) },
        },
      });
    }
  });

  it('its selectors choose the servers, and only the network policy the audit too', () => {
    const manifests = overlay(name);
    const server = manifests.server.metadata?.labels;
    const audit = manifests.audit.metadata?.labels;
    const selectors = [
      manifests.one('Deployment').spec?.selector.matchLabels,
      manifests.one('Service').spec?.selector,
      manifests.one('PodDisruptionBudget').spec?.selector?.matchLabels,
      manifests.server.spec?.topologySpreadConstraints?.[0]?.labelSelector?.matchLabels,
    ];
    for (const selector of selectors)
      expect([selects(selector, server), selects(selector, audit)]).toEqual([true, false]);
    const policy = manifests.one('NetworkPolicy').spec?.podSelector?.matchLabels;
    expect([selects(policy, server), selects(policy, audit)]).toEqual([true, true]);
    // It must let them reach others than themselves.
    const peers = (manifests.one('NetworkPolicy').spec?.egress ?? []).flatMap(({ to = [] }) => to);
    expect(
      peers.filter(({ podSelector }) => podSelector && selects(podSelector.matchLabels, server)),
    ).toEqual([]);
  });

  it('what is named is there: ports, volumes, the autoscaled, the monitored', () => {
    const manifests = overlay(name);
    const container = containerOf(manifests.server);
    const ports = Object.fromEntries((container.ports ?? []).map((port) => [port.name, port.containerPort]));
    expect(ports).toEqual({
      grpc: portOf(imageEnvironment['LAYERCACHE_LISTEN'] ?? ''),
      admin: portOf(imageEnvironment['LAYERCACHE_ADMIN'] ?? ''),
    });
    const service = manifests.one('Service');
    expect(service.spec?.clusterIP).toBe('None');
    expect((service.spec?.ports ?? []).map((port) => [port.targetPort, port.port])).toEqual(
      Object.entries(ports),
    );
    const ingress = manifests.one('NetworkPolicy').spec?.ingress ?? [];
    expect(ingress.flatMap((rule) => rule.ports ?? []).map(({ port }) => port)).toEqual(Object.keys(ports));

    const monitor = manifests.one('ServiceMonitor').spec;
    expect(selects(monitor.selector.matchLabels, service.metadata?.labels)).toBe(true);
    expect(monitor.endpoints?.map(({ port }) => port)).toEqual(['admin']);
    // The job that rules, alerts and dashboard go by.
    expect(service.metadata?.labels?.[monitor.jobLabel ?? '']).toBe('layercache');
    const { kind, name: scaled } = present(manifests.one('HorizontalPodAutoscaler').spec).scaleTargetRef;
    expect([kind, scaled]).toEqual(['Deployment', manifests.one('Deployment').metadata?.name]);
    for (const pod of [manifests.server, manifests.audit]) {
      const volumes = (pod.spec?.volumes ?? []).map((volume) => volume.name).sort();
      expect((containerOf(pod).volumeMounts ?? []).map((mount) => mount.name).sort()).toEqual(volumes);
      expect(containerOf(pod).volumeMounts?.every(({ readOnly }) => readOnly) ?? true).toBe(true);
      expect(pod.spec?.serviceAccountName).toBe(manifests.one('ServiceAccount').metadata?.name);
    }
    const drain = Number.parseInt(manifests.environment(container)['LAYERCACHE_DRAIN_TIMEOUT'] ?? '', 10);
    expect(manifests.server.spec?.terminationGracePeriodSeconds).toBeGreaterThan(drain);
  });

  it('names only options that exist', () => {
    expect(unknownNames(programOf(name, overlay(name)))).toEqual([]);
  });
});

it('has no field that the API does not know', { timeout: 60_000 }, async () => {
  // The validators pass over a misspelled field; the compiler does not, in a literal.
  const folder = await mkdtemp(join(tmpdir(), 'layercache-kubernetes-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  const imports = Object.entries(modules).map(([kind, from]) => `import type { I${kind} } from '${from}';`);
  const literals = [...rendered.values()].flatMap(({ objects }) =>
    objects.map((object) => `(${JSON.stringify(object)}) satisfies I${object.kind};`),
  );
  const misspelled = '({ apiVersion: "v1", kind: "ConfigMap", dat: {} }) satisfies IConfigMap;';
  await writeFile(join(folder, 'good.ts'), [...imports, ...literals].join('\n'));
  await writeFile(join(folder, 'bad.ts'), [...imports, misspelled].join('\n'));
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--ignoreConfig'];
  const compile = (file: string) =>
    promisify(execFile)(join(root, 'node_modules/.bin/tsc'), [...options, file], { cwd: folder });
  await compile('good.ts');
  await expect(compile('bad.ts')).rejects.toMatchObject({ stdout: expect.stringContaining("'dat'") });
});
