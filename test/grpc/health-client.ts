/** A client of `grpc.health.v1.Health` over the proto that the server's library ships. */
import {
  type Client,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';

type Stub = Client & {
  check(
    request: { service: string },
    callback: (error: ServiceError | null, response: { status: string }) => void,
  ): unknown;
  list(
    request: object,
    callback: (
      error: ServiceError | null,
      response: { statuses: Record<string, { status: string }> },
    ) => void,
  ): unknown;
  watch(request: { service: string }): ClientReadableStream<{ status: string }>;
};

export interface Watch {
  /** The next status that the server tells. */
  next(): Promise<string>;
  /** All that the server has told so far. */
  readonly told: readonly string[];
  /** How the stream ended. */
  readonly ended: Promise<{ code: number }>;
}

export class HealthClient {
  readonly #stub: Stub;

  constructor(target: string | Stub) {
    if (typeof target !== 'string') {
      this.#stub = target;
      return;
    }
    this.#stub = stub(target, {});
  }

  /** On the connection of another client. */
  static on(client: Client): HealthClient {
    return new HealthClient(stub('', { channelOverride: client.getChannel() }));
  }

  check(service: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#stub.check({ service }, (error, response) => (error ? reject(error) : resolve(response.status)));
    });
  }

  list(): Promise<Record<string, { status: string }>> {
    return new Promise((resolve, reject) => {
      this.#stub.list({}, (error, response) => (error ? reject(error) : resolve(response.statuses)));
    });
  }

  watch(service: string): Watch {
    const told: string[] = [];
    let taken = 0;
    const waiting: ((status: string) => void)[] = [];
    const stream = this.#stub.watch({ service });
    stream.on('data', ({ status }) => {
      told.push(status);
      const waiter = waiting.shift();
      if (waiter === undefined) return;
      taken++;
      waiter(status);
    });
    const ended = new Promise<{ code: number }>((resolve) => {
      stream.on('error', (error: ServiceError) => resolve(error));
      stream.on('end', () => resolve({ code: 0 }));
    });
    const next = (): Promise<string> => {
      const status = told[taken];
      if (status === undefined) return new Promise((resolve) => waiting.push(resolve));
      taken++;
      return Promise.resolve(status);
    };
    return { next, told, ended };
  }

  close(): void {
    this.#stub.close();
  }
}

function stub(address: string, options: object): Stub {
  const loaded = loadPackageDefinition(loadSync(protoPath, { enums: String, defaults: true })) as unknown as {
    grpc: { health: { v1: { Health: new (...args: unknown[]) => Stub } } };
  };
  return new loaded.grpc.health.v1.Health(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  });
}
