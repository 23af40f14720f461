/** One client's watch of a service's status. */
export interface HealthWatch {
  /** The service's name, as the client wrote it. */
  readonly service: string;
  tell(isServing: boolean): void;
  /** The server does not come back. */
  end(): void;
}

/**
 * Whether the server as a whole (`""`) and its service serve; both have one
 * meaning. `health-service.ts` answers `grpc.health.v1.Health` by it.
 */
export class Health {
  readonly services: readonly string[];
  readonly #watches = new Set<HealthWatch>();
  #isServing = false;

  /** Not serving until `setServing(true)`. */
  constructor(service: string) {
    this.services = ['', service];
  }

  get isServing(): boolean {
    return this.#isServing;
  }

  setServing(isServing: boolean): void {
    if (isServing === this.#isServing) return;
    this.#isServing = isServing;
    for (const watch of this.#watches) if (this.knows(watch.service)) watch.tell(isServing);
  }

  knows(service: string): boolean {
    return this.services.includes(service);
  }

  /** Tells the watch of every change until `unwatch`. */
  watch(watch: HealthWatch): void {
    this.#watches.add(watch);
  }

  unwatch(watch: HealthWatch): void {
    this.#watches.delete(watch);
  }

  endWatches(): void {
    for (const watch of this.#watches) watch.end();
  }
}
