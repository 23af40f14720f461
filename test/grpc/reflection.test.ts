import {
  type handleBidiStreamingCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import descriptor from 'protobufjs/ext/descriptor/index.js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LayerCacheServiceService } from '../../src/gen/layercache/v1/layer_cache.js';
import { addReflection } from '../../src/grpc/reflection.js';
import { startServer } from '../rpc/started-server.js';
import { ReflectionClient, type ReflectionVersion } from './reflection-client.js';

async function reflect(version: ReflectionVersion): Promise<ReflectionClient> {
  const { address } = await startServer();
  const client = new ReflectionClient(address, version);
  onTestFinished(() => client.close());
  return client;
}

function namesOf(files: readonly Buffer[] = []): string[] {
  return files.map(
    (bytes) => (descriptor.FileDescriptorProto.decode(bytes) as unknown as { name: string }).name,
  );
}

/** What the descriptors say of a service, all its types resolved, as a client's `describe` does. */
function described(files: readonly Buffer[], service: string): Record<string, [string, string, boolean]> {
  const file = files.map((bytes) => descriptor.FileDescriptorProto.decode(bytes));
  const root = (protobuf.Root as unknown as { fromDescriptor(set: object): protobuf.Root }).fromDescriptor({
    file,
  });
  root.resolveAll();
  const methods = root.lookupService(service).methods;
  return Object.fromEntries(
    Object.values(methods).map((method) => [
      method.name,
      [
        method.resolvedRequestType?.fullName ?? '',
        method.resolvedResponseType?.fullName ?? '',
        method.responseStream === true,
      ],
    ]),
  );
}

describe.each<ReflectionVersion>(['v1', 'v1alpha'])('reflection %s', (version) => {
  it('lists the service and health', async () => {
    const client = await reflect(version);
    const answer = await client.ask({ listServices: '*' });
    expect(answer.listServicesResponse?.service.map(({ name }) => name).sort()).toEqual([
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
      'layercache.v1.LayerCacheService',
    ]);
  });

  it('describes every service that it lists', async () => {
    const client = await reflect(version);
    const { listServicesResponse } = await client.ask({ listServices: '*' });
    for (const { name } of listServicesResponse?.service ?? []) {
      const { fileDescriptorResponse } = await client.ask({ fileContainingSymbol: name });
      const methods = described(fileDescriptorResponse?.fileDescriptorProto ?? [], name);
      expect(Object.keys(methods).length).toBeGreaterThan(0);
    }
  });

  it('has the descriptors of every RPC, with all that they import', async () => {
    const client = await reflect(version);
    const answer = await client.ask({ fileContainingSymbol: 'layercache.v1.LayerCacheService' });
    const methods = described(
      answer.fileDescriptorResponse?.fileDescriptorProto ?? [],
      'layercache.v1.LayerCacheService',
    );
    expect(Object.keys(methods).sort()).toEqual(
      Object.values(LayerCacheServiceService)
        .map(({ path }) => path.replace(/.*\//, ''))
        .sort(),
    );
    for (const [name, [request, response, streams]] of Object.entries(methods)) {
      expect(request).toBe(`.layercache.v1.${name}Request`);
      expect(response).toBe(`.layercache.v1.${name}Response`);
      expect(streams).toBe(name === 'Fetch');
    }
  });

  it.each([
    'layercache.v1.LayerCacheService.Fetch',
    'layercache.v1.FetchRequest.chunk_size',
    'layercache.v1.FetchResponse.part',
    'layercache.v1.SOURCE_CACHE',
    'google.rpc.ErrorInfo',
    'grpc.health.v1.HealthCheckResponse.ServingStatus',
    'grpc.health.v1.HealthCheckResponse.SERVING',
    'layercache.v1.FetchRequest',
    'layercache.v1.Source',
    'google.protobuf.Duration',
  ])('knows the symbol %s', async (symbol) => {
    const client = await reflect(version);
    const answer = await client.ask({ fileContainingSymbol: symbol });
    expect(answer.errorResponse).toBeFalsy();
    expect(answer.fileDescriptorResponse?.fileDescriptorProto.length).toBeGreaterThan(0);
  });

  it('has the descriptors of health', async () => {
    const client = await reflect(version);
    const answer = await client.ask({ fileContainingSymbol: 'grpc.health.v1.Health' });
    const methods = described(
      answer.fileDescriptorResponse?.fileDescriptorProto ?? [],
      'grpc.health.v1.Health',
    );
    expect(Object.keys(methods)).toContain('Check');
  });

  it.each([
    ['fileContainingSymbol', 'layercache.v1.Nothing'],
    ['fileContainingSymbol', ''],
    ['fileByFilename', 'layercache/v1/nothing.proto'],
    ['allExtensionNumbersOfType', 'layercache.v1.Nothing'],
    ['fileContainingExtension', { containingType: 'layercache.v1.FetchRequest', extensionNumber: 100 }],
    ['fileContainingExtension', { containingType: 'layercache.v1.Nothing', extensionNumber: 100 }],
  ])('says NOT_FOUND to %s of %o', async (question, value) => {
    const client = await reflect(version);
    const answer = await client.ask({ host: 'here', [question]: value });
    expect(answer).toMatchObject({
      validHost: 'here',
      originalRequest: { [question]: value },
      errorResponse: { errorCode: 5 },
    });
  });

  it('has files by their name, first the file, then what it imports', async () => {
    const client = await reflect(version);
    const { fileDescriptorResponse } = await client.ask({
      fileByFilename: 'layercache/v1/layer_cache.proto',
    });
    expect(namesOf(fileDescriptorResponse?.fileDescriptorProto)).toEqual([
      'layercache/v1/layer_cache.proto',
      'google/protobuf/duration.proto',
    ]);
  });

  it.each(['google.rpc.ErrorInfo', 'layercache.v1.FetchRequest', 'layercache.v1.Source'])(
    'knows that %s has no extensions, which is no error',
    async (type) => {
      const client = await reflect(version);
      const answer = await client.ask({ allExtensionNumbersOfType: type });
      expect(answer.errorResponse).toBeFalsy();
      expect(answer.allExtensionNumbersResponse).toEqual({ baseTypeName: type, extensionNumber: [] });
    },
  );

  it('sends no file twice as an import on one stream, and the one asked for each time', async () => {
    const client = await reflect(version);
    const question = { fileContainingSymbol: 'layercache.v1.Source' };
    const answers = await client.askAll([question, question]);
    expect(
      answers.map(({ fileDescriptorResponse }) => namesOf(fileDescriptorResponse?.fileDescriptorProto)),
    ).toEqual([
      ['layercache/v1/layer_cache.proto', 'google/protobuf/duration.proto'],
      ['layercache/v1/layer_cache.proto'],
    ]);
  });

  it('ends a stream that asks nothing in INVALID_ARGUMENT', async () => {
    const client = await reflect(version);
    await expect(client.ask({})).rejects.toMatchObject({ code: 3 });
  });
});

/** Keeps the reflection streams that it serves, for a look at what waits in them. */
class WatchedServer extends Server {
  readonly streams: ServerDuplexStream<unknown, unknown>[] = [];

  override addService(
    definition: Parameters<Server['addService']>[0],
    handlers: UntypedServiceImplementation,
  ): void {
    const serve = handlers['ServerReflectionInfo'] as handleBidiStreamingCall<unknown, unknown>;
    super.addService(definition, {
      ServerReflectionInfo: (stream: ServerDuplexStream<unknown, unknown>) => {
        this.streams.push(stream);
        serve(stream);
      },
    });
  }
}

it('a client that asks and takes no answer is not listened to any further', async () => {
  const server = new WatchedServer();
  addReflection(server, ['layercache.v1.LayerCacheService']);
  onTestFinished(() => server.forceShutdown());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const client = new ReflectionClient(`127.0.0.1:${port}`, 'v1');
  onTestFinished(() => client.close());
  const stream = client.open();
  stream.on('error', () => {});
  const question = { fileContainingSymbol: 'layercache.v1.LayerCacheService' };
  // grpc-js takes whatever comes until the first read.
  await new Promise<void>((resolve) => {
    stream.once('data', () => {
      stream.pause();
      resolve();
    });
    stream.write(question);
  });
  for (let i = 0; i < 5000; i++) stream.write(question);
  const [served] = server.streams;
  if (served === undefined) throw new Error('no stream');
  const { writableHighWaterMark: bound } = served;
  for (let last = -1; last !== served.writableLength || last < bound; ) {
    last = served.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(served.writableLength).toBe(bound);
  stream.cancel();
});
