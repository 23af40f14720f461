/** A server of the service whose answers a test writes, for what a client must make of any server. */
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type status,
} from '@grpc/grpc-js';
import {
  type FetchRequest,
  type FetchResponse,
  LayerCacheServiceService,
  type StatRequest,
  type StatResponse,
} from '../../src/gen/layercache/v1/layer_cache.js';

type FetchCall = ServerWritableStream<FetchRequest, FetchResponse>;

export interface Script {
  readonly stat?: handleUnaryCall<StatRequest, StatResponse>;
  readonly fetch?: (call: FetchCall) => void;
}

export class ScriptedService {
  readonly address: string;
  /** What was asked, in order. */
  readonly asked: readonly string[];
  readonly #server: Server;

  private constructor(server: Server, port: number, asked: readonly string[]) {
    this.#server = server;
    this.address = `127.0.0.1:${port}`;
    this.asked = asked;
  }

  static async start(script: Script): Promise<ScriptedService> {
    const server = new Server();
    const asked: string[] = [];
    server.addService(LayerCacheServiceService, {
      ...(script.stat && {
        stat: (...args: Parameters<handleUnaryCall<StatRequest, StatResponse>>) => {
          asked.push('stat');
          script.stat?.(...args);
        },
      }),
      ...(script.fetch && {
        fetch: (call: FetchCall) => {
          asked.push(`fetch at ${call.request.offset}`);
          script.fetch?.(call);
        },
      }),
    });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
    return new ScriptedService(server, await promise, asked);
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

/** The header of a layer of that digest and length, for what was asked. */
export function headerFor(call: FetchCall, digest: string, length: number): FetchResponse {
  const { offset } = call.request;
  return {
    part: {
      $case: 'header',
      value: { digest, length: BigInt(length), offset, source: 1, redirectUrl: '' },
    },
  };
}

export function chunkOf(bytes: Uint8Array): FetchResponse {
  return { part: { $case: 'chunk', value: Buffer.from(bytes) } };
}

/** Ends the call with that status, without details. */
export function failWith(call: FetchCall, code: status): void {
  call.emit('error', { code, details: 'scripted', metadata: new Metadata() });
}
