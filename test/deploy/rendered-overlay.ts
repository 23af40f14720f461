/** What `kubectl kustomize` makes of an overlay of deploy/kubernetes. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { IServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import type { IDeployment } from 'kubernetes-models/apps/v1';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import type { ICronJob } from 'kubernetes-models/batch/v1';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';
import type {
  IConfigMap,
  IContainer,
  IPodTemplateSpec,
  IService,
  IServiceAccount,
} from 'kubernetes-models/v1';
import { parseAllDocuments } from 'yaml';
import { kubectl } from '../parts/kubectl.js';
import { deploy } from './deployed-files.js';
import type { DeployedProgram } from './deployed-program.js';
import { imageEnvironment } from './image.js';

export const overlays = ['file-volume', 's3', 'mtls'] as const;

export interface Kinds {
  ConfigMap: IConfigMap;
  CronJob: ICronJob;
  Deployment: IDeployment;
  HorizontalPodAutoscaler: IHorizontalPodAutoscaler;
  NetworkPolicy: INetworkPolicy;
  PodDisruptionBudget: IPodDisruptionBudget;
  Service: IService;
  ServiceAccount: IServiceAccount;
  ServiceMonitor: IServiceMonitor;
}

export type AnyObject = Kinds[keyof Kinds];
type Labels = Readonly<Record<string, string>>;

export class RenderedOverlay {
  readonly objects: readonly AnyObject[];

  private constructor(objects: readonly AnyObject[]) {
    this.objects = objects;
  }

  static render(name: string): Promise<RenderedOverlay> {
    return RenderedOverlay.renderFolder(join(deploy, 'kubernetes', 'overlays', name));
  }

  /** Of another folder that has a `kustomization.yaml`. */
  static async renderFolder(folder: string): Promise<RenderedOverlay> {
    const { stdout, stderr } = await promisify(execFile)(kubectl, ['kustomize', folder]);
    // It warns of what it will no longer take.
    if (stderr !== '') throw new Error(stderr);
    return new RenderedOverlay(parseAllDocuments(stdout).map((document) => document.toJS() as AnyObject));
  }

  /** The only one of that kind. */
  one<K extends keyof Kinds>(kind: K): Kinds[K] {
    const [found, ...more] = this.objects.filter((object) => object.kind === kind);
    if (found === undefined || more.length > 0) throw new Error(`not one ${kind}`);
    return found as Kinds[K];
  }

  get server(): IPodTemplateSpec {
    return present(this.one('Deployment').spec?.template);
  }

  get audit(): IPodTemplateSpec {
    return present(this.one('CronJob').spec?.jobTemplate.spec?.template);
  }

  /** What the container's `envFrom` takes from the ConfigMaps that are there. */
  environment(container: IContainer): Record<string, string> {
    const names = (container.envFrom ?? []).flatMap(({ configMapRef }) => configMapRef?.name ?? []);
    return Object.assign(
      {},
      ...names.map((name) => {
        const map = this.objects.find(
          (object) => object.kind === 'ConfigMap' && object.metadata?.name === name,
        );
        return present((map as IConfigMap | undefined)?.data);
      }),
    );
  }
}

/** How the Deployment of an overlay starts the server. */
export function programOf(name: string, manifests: RenderedOverlay): DeployedProgram {
  const container = containerOf(manifests.server);
  const [command = '', ...args] = container.args ?? [];
  const env = { ...imageEnvironment, ...manifests.environment(container) };
  return { file: `kubernetes/overlays/${name}`, command, args, env };
}

/** The only container of a pod. */
export function containerOf(pod: IPodTemplateSpec): IContainer {
  const [container, ...more] = pod.spec?.containers ?? [];
  if (more.length > 0) throw new Error('more than one container');
  return present(container);
}

/** Whether a selector chooses what has these labels. */
export function selects(selector: Labels | undefined, labels: Labels | undefined): boolean {
  const wanted = Object.entries(present(selector));
  if (wanted.length === 0) throw new Error('a selector that chooses everything');
  return wanted.every(([name, value]) => labels?.[name] === value);
}

export function present<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new Error('it is not there');
  return value;
}
