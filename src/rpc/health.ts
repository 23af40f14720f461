import {
  type Server,
  type ServerWritableStream,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

/**
 * `grpc.health.v1.Health` for the server as a whole (`""`) and for its service;
 * both have one meaning.
 */
export class Health {
  readonly #services: readonly string[];
  readonly #implementation: HealthImplementation;
  readonly #watches = new Set<HealthWatch>();

  /** Not serving until told. */
  constructor(service: string) {
    this.#services = ['', service];
    this.#implementation = new HealthImplementation();
    this.setServing(false);
  }

  setServing(serving: boolean): void {
    for (const service of this.#services) {
      this.#implementation.setStatus(service, serving ? 'SERVING' : 'NOT_SERVING');
    }
  }

  addToServer(server: Server): void {
    this.#implementation.addToServer({
      addService: (
        definition: Parameters<Server['addService']>[0],
        handlers: UntypedServiceImplementation,
      ) => {
        server.addService(definition, { ...handlers, watch: this.#watch(handlers) });
      },
    });
  }

  /** Ends the watches under way: what they watch will not be back. */
  endWatches(): void {
    for (const call of this.#watches) {
      call.emit('error', { code: status.UNAVAILABLE, details: 'the server is stopping' });
    }
  }

  // The library remembers every service name that a client ever watched; ours
  // are two, and no other ever comes to be, so nothing needs to be remembered.
  #watch(handlers: UntypedServiceImplementation) {
    const watch = handlers['watch'] as (call: HealthWatch) => void;
    return (call: HealthWatch): void => {
      this.#watches.add(call);
      call.once('cancelled', () => this.#watches.delete(call));
      if (this.#services.includes(call.request.service)) watch(call);
      else call.write({ status: 'SERVICE_UNKNOWN' });
    };
  }
}

type HealthWatch = ServerWritableStream<{ service: string }, { status: string }>;
