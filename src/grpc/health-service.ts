import { type Server, status } from '@grpc/grpc-js';
import {
  type HealthServer,
  HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../gen/health/v1/health.js';
import type { Health, HealthWatch } from './health.js';

/**
 * Has the server answer `grpc.health.v1.Health`. Not the library of that name:
 * it reads its proto when the process starts, and remembers every service name
 * that a client ever watched.
 */
export function addHealth(server: Server, health: Health): void {
  const handlers: HealthServer = {
    check: ({ request }, callback) => {
      if (health.knows(request.service)) callback(null, { status: statusOf(health.isServing) });
      else callback({ code: status.NOT_FOUND, details: 'no service of that name' });
    },
    list: (_call, callback) => {
      const now = statusOf(health.isServing);
      const statuses = health.services.map((service) => [service, { status: now }] as const);
      callback(null, { statuses: Object.fromEntries(statuses) });
    },
    // A name that is not ours never exists, so its watcher gets one answer.
    watch: (call) => {
      const { service } = call.request;
      const watch: HealthWatch = {
        service,
        tell: (isServing) => void call.write({ status: statusOf(isServing) }),
        end: () => void call.emit('error', { code: status.UNAVAILABLE, details: 'the server is stopping' }),
      };
      health.watch(watch);
      call.once('cancelled', () => health.unwatch(watch));
      const now = health.knows(service) ? statusOf(health.isServing) : ServingStatus.SERVICE_UNKNOWN;
      call.write({ status: now });
    },
  };
  server.addService(HealthService, handlers);
}

function statusOf(isServing: boolean): ServingStatus {
  return isServing ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
}
