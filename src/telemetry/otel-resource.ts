/** Who sends the telemetry, as the standard variables and the host say. */
import {
  defaultResource,
  detectResources,
  envDetector,
  hostDetector,
  type Resource,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import {
  ATTR_SERVICE_INSTANCE_ID,
  ATTR_SERVICE_NAME,
  ATTR_SERVICE_VERSION,
} from '@opentelemetry/semantic-conventions';

/**
 * The service; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last
 * word, save that an instance id which they give to several workers is told
 * apart by the worker's number.
 */
export function describeService(version: string, worker: number | undefined): Resource {
  const service = defaultResource()
    .merge(resourceFromAttributes({ [ATTR_SERVICE_NAME]: 'layercache', [ATTR_SERVICE_VERSION]: version }))
    // Not the process detector: the command line may hold the password of a cache URL.
    .merge(detectResources({ detectors: [serviceInstanceIdDetector, envDetector] }));
  const given = detectResources({ detectors: [envDetector] }).attributes[ATTR_SERVICE_INSTANCE_ID];
  if (worker === undefined || given === undefined) return service;
  return service.merge(resourceFromAttributes({ [ATTR_SERVICE_INSTANCE_ID]: `${given}-${worker}` }));
}

/** The service and the host it runs on, for what is pushed; looking for the host may start a process. */
export async function describeSender(service: Resource): Promise<Resource> {
  const host = detectResources({ detectors: [hostDetector] });
  await host.waitForAsyncAttributes?.();
  return host.merge(service);
}
