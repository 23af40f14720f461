/**
 * Server reflection, v1 and v1alpha, over the descriptors that `npm run
 * generate` compiles: comments included, which is what a `describe` shows. A
 * service that is listed has its descriptors here too, or clients cannot
 * describe it. The error details are not listed, but there for clients that show them.
 */
import { readFileSync } from 'node:fs';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server, ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';

/** Adds both versions; `services` are the full names that a client is told of. */
export function addReflection(server: Server, services: string[]): void {
  new ReflectionService(descriptors('layercache', 'health', 'error_details'), { services }).addToServer({
    addService: (definition: Parameters<Server['addService']>[0], handlers: UntypedServiceImplementation) =>
      server.addService(definition, bounded(handlers)),
  });
}

/**
 * What the library wants of a package definition: it reads the descriptors and
 * nothing else. Those that the proto loader would make name types relatively,
 * which Go's clients do not resolve.
 */
function descriptors(...images: string[]): PackageDefinition {
  const fileDescriptorProtos = images.flatMap((image) =>
    filesOf(readFileSync(new URL(`../gen/${image}.binpb`, import.meta.url))),
  );
  const anyType = { format: '', type: {}, fileDescriptorProtos };
  return { files: anyType as unknown as PackageDefinition[string] };
}

/** The files of a `FileDescriptorSet`, whose only field is `repeated FileDescriptorProto file = 1`. */
function filesOf(descriptorSet: Uint8Array): Buffer[] {
  const reader = new BinaryReader(descriptorSet);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    reader.tag();
    files.push(Buffer.from(reader.bytes()));
  }
  return files;
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
