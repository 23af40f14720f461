/** The resource that sends the telemetry, from the standard variables and the host. */
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
 * The service. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override it,
 * but an instance id that they give to several workers gets the worker's number
 * appended.
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

/** The service and its host, for exports; detecting the host may start a process. */
export async function describeSender(service: Resource): Promise<Resource> {
  const host = detectResources({ detectors: [hostDetector] });
  await host.waitForAsyncAttributes?.();
  return host.merge(service);
}
