import { type Server, type ServerWritableStream, status } from '@grpc/grpc-js';
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthServer,
  HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../gen/health/v1/health.js';

/**
 * `grpc.health.v1.Health` for the server as a whole (`""`) and for its service;
 * both have one meaning. Not the library of that name: it reads its proto when
 * the process starts, which was a tenth of the time until it serves, and
 * remembers every service name that a client ever watched.
 */
export class Health {
  readonly #services: readonly string[];
  readonly #watches = new Set<HealthWatch>();
  #status = ServingStatus.NOT_SERVING;

  /** Not serving until `setServing(true)`. */
  constructor(service: string) {
    this.#services = ['', service];
  }

  setServing(serving: boolean): void {
    const now = serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
    if (now === this.#status) return;
    this.#status = now;
    for (const watch of this.#watches) if (this.#knows(watch.request)) watch.write({ status: now });
  }

  addToServer(server: Server): void {
    const handlers: HealthServer = {
      check: ({ request }, callback) => {
        if (this.#knows(request)) callback(null, { status: this.#status });
        else callback({ code: status.NOT_FOUND, details: 'no service of that name' });
      },
      list: (_call, callback) => {
        const statuses = this.#services.map((service) => [service, { status: this.#status }] as const);
        callback(null, { statuses: Object.fromEntries(statuses) });
      },
      // A name that is not ours never exists, so its watcher gets one answer.
      watch: (call) => {
        this.#watches.add(call);
        call.once('cancelled', () => this.#watches.delete(call));
        call.write({ status: this.#knows(call.request) ? this.#status : ServingStatus.SERVICE_UNKNOWN });
      },
    };
    server.addService(HealthService, handlers);
  }

  /** Ends all watches: the server does not come back. */
  endWatches(): void {
    for (const call of this.#watches) {
      call.emit('error', { code: status.UNAVAILABLE, details: 'the server is stopping' });
    }
  }

  #knows({ service }: HealthCheckRequest): boolean {
    return this.#services.includes(service);
  }
}

type HealthWatch = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;
