/**
 * Server reflection, v1 and v1alpha, as Go's server answers it, over the
 * descriptors that `npm run generate` compiles: comments included, which is
 * what a `describe` shows. The error details are not listed, but described for
 * clients that show them.
 *
 * The descriptors are read when the first client asks: they were a tenth of
 * the time until the server serves, and of its idle memory.
 */
import { readFile } from 'node:fs/promises';
import {
  type MethodDefinition,
  type Server,
  type ServerDuplexStream,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import { ServerReflectionRequest, ServerReflectionResponse } from '../gen/grpc/reflection/v1/reflection.js';
import type { DescribedFiles } from './described-files.js';

export type ReflectionStream = ServerDuplexStream<ServerReflectionRequest, ServerReflectionResponse>;

const method = 'ServerReflectionInfo';
const versions = ['v1', 'v1alpha'];
const images = ['layercache', 'health', 'error_details', 'reflection'];

/** Adds both versions of the service; `services` are the full names of the others that clients may list. */
export function addReflection(server: Server, services: readonly string[]): void {
  const own = versions.map((version) => `grpc.reflection.${version}.ServerReflection`);
  const listed = [...services, ...own].sort();
  let loading: Promise<DescribedFiles> | undefined;
  const loaded = () => {
    loading ??= load().catch((error: unknown) => {
      loading = undefined;
      throw error;
    });
    return loading;
  };
  for (const service of own) {
    const definition = { [method]: definitionAt(`/${service}/${method}`) };
    server.addService(definition, {
      [method]: (stream: ReflectionStream) => void answerAll(stream, listed, loaded),
    });
  }
}

// The messages of both versions are the same on the wire.
function definitionAt(path: string): MethodDefinition<ServerReflectionRequest, ServerReflectionResponse> {
  return {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: (request) => Buffer.from(ServerReflectionRequest.encode(request).finish()),
    requestDeserialize: (bytes) => ServerReflectionRequest.decode(bytes),
    responseSerialize: (response) => Buffer.from(ServerReflectionResponse.encode(response).finish()),
    responseDeserialize: (bytes) => ServerReflectionResponse.decode(bytes),
  };
}

async function load(): Promise<DescribedFiles> {
  const [{ DescribedFiles }, ...sets] = await Promise.all([
    import('./described-files.js'),
    ...images.map((image) => readFile(new URL(`../gen/${image}.binpb`, import.meta.url))),
  ]);
  return new DescribedFiles(sets);
}

/** Answers one stream; its next question is read once the client has taken the last answer. */
async function answerAll(
  stream: ReflectionStream,
  services: readonly string[],
  loaded: () => Promise<DescribedFiles>,
): Promise<void> {
  try {
    const files = await loaded();
    const sent = new Set<string>();
    stream.on('end', () => stream.end());
    stream.on('data', (request: ServerReflectionRequest) => {
      const answer = answerTo(request, services, files, sent);
      if (answer === undefined) {
        refuse(stream, { code: status.INVALID_ARGUMENT, details: 'the request asks nothing' });
        return;
      }
      if (stream.write(answer)) return;
      stream.pause();
      stream.once('drain', () => stream.resume());
    });
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
    refuse(stream, { code: status.INTERNAL, details: 'internal error' });
  }
}

function refuse(stream: ReflectionStream, { code, details }: Pick<StatusObject, 'code' | 'details'>): void {
  stream.emit('error', { code, details });
}

/** `sent`: names of the files that this stream has been sent, which are not sent again as imports. */
function answerTo(
  request: ServerReflectionRequest,
  services: readonly string[],
  files: DescribedFiles,
  sent: Set<string>,
): ServerReflectionResponse | undefined {
  const { messageRequest: question } = request;
  const answered = (
    messageResponse: ServerReflectionResponse['messageResponse'],
  ): ServerReflectionResponse => ({ validHost: request.host, originalRequest: request, messageResponse });
  const described = (file: string | undefined) =>
    file === undefined
      ? notFound
      : ({
          $case: 'fileDescriptorResponse',
          value: { fileDescriptorProto: files.withImports(file, sent) },
        } as const);
  switch (question?.$case) {
    case 'listServices':
      return answered({
        $case: 'listServicesResponse',
        value: { service: services.map((name) => ({ name })) },
      });
    case 'fileByFilename':
      return answered(described(files.named(question.value)));
    case 'fileContainingSymbol':
      return answered(described(files.declaring(question.value)));
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = question.value;
      return answered(described(files.extending(containingType, extensionNumber)));
    }
    case 'allExtensionNumbersOfType': {
      const extensionNumber = files.extensionNumbers(question.value);
      if (extensionNumber === undefined) return answered(notFound);
      const value = { baseTypeName: question.value, extensionNumber };
      return answered({ $case: 'allExtensionNumbersResponse', value });
    }
    default:
      return undefined;
  }
}

const notFound = {
  $case: 'errorResponse',
  value: { errorCode: status.NOT_FOUND, errorMessage: 'not found' },
} as const;
