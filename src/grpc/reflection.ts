/**
 * Server reflection, v1 and v1alpha, over the descriptors that `npm run
 * generate` compiles: comments included, which is what a `describe` shows. A
 * service that is listed has its descriptors here too, or clients cannot
 * describe it. The error details are not listed, but there for clients that show them.
 *
 * The library and its descriptors come with the first client that asks: they
 * were a tenth of the time until the server serves, and of its idle memory.
 */
import { readFile } from 'node:fs/promises';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import {
  type MethodDefinition,
  type Server,
  type ServerDuplexStream,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';

type ReflectionStream = ServerDuplexStream<unknown, unknown>;

/** The one method of a version, as the library defines and answers it. */
interface Answering {
  readonly definition: MethodDefinition<unknown, unknown>;
  readonly handle: (stream: ReflectionStream) => void;
}

const method = 'ServerReflectionInfo';
const paths = ['v1', 'v1alpha'].map((version) => `/grpc.reflection.${version}.ServerReflection/${method}`);

/** Adds both versions; `services` are the full names that a client is told of. */
export function addReflection(server: Server, services: string[]): void {
  const library = new LateReflection(services);
  for (const path of paths) {
    server.addService({ [method]: library.definition(path) }, { [method]: library.handler(path) });
  }
}

/** Reflection that is loaded by the first call. */
class LateReflection {
  readonly #services: string[];
  #loading: Promise<ReadonlyMap<string, Answering>> | undefined;
  #loaded: ReadonlyMap<string, Answering> | undefined;

  constructor(services: string[]) {
    this.#services = services;
  }

  /** Messages are read and written only once a handler listens, which is after the loading. */
  definition(path: string): MethodDefinition<unknown, unknown> {
    const late = () => {
      const answering = this.#loaded?.get(path);
      if (answering === undefined) throw new TypeError('reflection is not loaded');
      return answering.definition;
    };
    return {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: (request) => late().requestSerialize(request),
      requestDeserialize: (bytes) => late().requestDeserialize(bytes),
      responseSerialize: (response) => late().responseSerialize(response),
      responseDeserialize: (bytes) => late().responseDeserialize(bytes),
    };
  }

  handler(path: string): (stream: ReflectionStream) => Promise<void> {
    return async (stream) => {
      try {
        this.#loading ??= load(this.#services);
        this.#loaded = await this.#loading;
        this.#loaded.get(path)?.handle(stream);
      } catch (error) {
        this.#loading = undefined;
        process.emitWarning(error instanceof Error ? error : String(error));
        stream.emit('error', { code: status.INTERNAL, details: 'internal error' });
      }
    };
  }
}

async function load(services: string[]): Promise<ReadonlyMap<string, Answering>> {
  const [{ ReflectionService }, described] = await Promise.all([
    import('@grpc/reflection'),
    descriptors('layercache', 'health', 'error_details'),
  ]);
  const answering = new Map<string, Answering>();
  new ReflectionService(described, { services }).addToServer({
    addService: (service: ServiceDefinition, handlers: UntypedServiceImplementation) => {
      const definition = service[method];
      if (definition !== undefined) answering.set(definition.path, { definition, handle: bounded(handlers) });
    },
  });
  return answering;
}

/**
 * What the library wants of a package definition: it reads the descriptors and
 * nothing else. Those that the proto loader would make name types relatively,
 * which Go's clients do not resolve.
 */
async function descriptors(...images: string[]): Promise<PackageDefinition> {
  const read = (image: string) => readFile(new URL(`../gen/${image}.binpb`, import.meta.url));
  const fileDescriptorProtos = (await Promise.all(images.map(read))).flatMap(filesOf);
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
function bounded(handlers: UntypedServiceImplementation): (stream: ReflectionStream) => void {
  const answer = handlers[method] as (stream: ReflectionStream) => void;
  return (stream) => {
    answer(stream);
    stream.on('data', () => {
      if (!stream.writableNeedDrain) return;
      stream.pause();
      stream.once('drain', () => stream.resume());
    });
  };
}
