/**
 * Server reflection, v1 and v1alpha, over the `.proto` files that ship with the
 * package. A service that is listed has its descriptors here too, or clients
 * cannot describe it.
 */
import { fileURLToPath } from 'node:url';
import type { Server, ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { protoPath as healthProto } from 'grpc-health-check';

// The same two levels up from `src/rpc/` and from `dist/rpc/`.
const protoRoot = fileURLToPath(new URL('../../proto/', import.meta.url));

/** Adds both versions; `services` are the full names that a client is told of. */
export function addReflection(server: Server, services: string[]): void {
  const definitions = {
    ...loadSync('layercache/v1/layer_cache.proto', { includeDirs: [protoRoot] }),
    ...loadSync(healthProto),
  };
  new ReflectionService(definitions, { services }).addToServer({
    addService: (definition: Parameters<Server['addService']>[0], handlers: UntypedServiceImplementation) =>
      server.addService(definition, bounded(handlers)),
  });
}

// The library answers as fast as it is asked, also a client that takes no
// answer: here it is not listened to until it does.
function bounded(handlers: UntypedServiceImplementation): UntypedServiceImplementation {
  const answer = handlers['ServerReflectionInfo'] as (stream: ServerDuplexStream<unknown, unknown>) => void;
  return {
    ServerReflectionInfo: (stream: ServerDuplexStream<unknown, unknown>) => {
      answer(stream);
      stream.on('data', () => {
        if (!stream.writableNeedDrain) return;
        stream.pause();
        stream.once('drain', () => stream.resume());
      });
    },
  };
}
