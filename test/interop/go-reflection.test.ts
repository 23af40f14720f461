/** Reflection as Go's own client reads it, and beside what Go's own server answers. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import descriptor from 'protobufjs/ext/descriptor/index.js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildGoProgram } from '../parts/go-program.js';
import { startServer } from '../rpc/started-server.js';

interface Answer {
  readonly validHost?: string;
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly string[] };
  readonly errorResponse?: { readonly errorCode: number };
}

let built: Awaited<ReturnType<typeof buildGoProgram>>;
let go: ChildProcess;
let goAddress: string;

beforeAll(async () => {
  built = await buildGoProgram(join(import.meta.dirname, 'go-reflection'));
  go = spawn(built.program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [port] = (await once(go.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  goAddress = `127.0.0.1:${port.toString().trim()}`;
}, 300_000);

afterAll(async () => {
  go?.kill();
  if (built !== undefined) await rm(built.folder, { recursive: true, force: true });
});

/** The answers of Go's client to the questions, asked on one stream. */
async function ask(address: string, questions: readonly object[]): Promise<Answer[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const client = execFile(built.program, [address], (error, stdout, stderr) =>
    error === null ? resolve(stdout) : reject(new Error(stderr, { cause: error })),
  );
  client.stdin?.end(questions.map((question) => `${JSON.stringify(question)}\n`).join(''));
  return (await promise)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Answer);
}

const health = [
  { fileByFilename: 'grpc/health/v1/health.proto' },
  { fileContainingSymbol: 'grpc.health.v1.Health' },
  { fileContainingSymbol: 'grpc.health.v1.Health.Check' },
  { fileContainingSymbol: 'grpc.health.v1.HealthCheckResponse.ServingStatus' },
  { fileContainingSymbol: 'grpc.health.v1.Nothing' },
  { allExtensionNumbersOfType: 'grpc.health.v1.HealthCheckRequest' },
  { allExtensionNumbersOfType: 'grpc.health.v1.Nothing' },
  { fileContainingExtension: { containingType: 'grpc.health.v1.HealthCheckRequest', extensionNumber: 7 } },
  { fileContainingExtension: { containingType: 'grpc.health.v1.Nothing', extensionNumber: 7 } },
  { host: 'here', fileByFilename: 'no/such.proto' },
];

/** An answer without what differs between releases of health.proto, and without the server's own words. */
function comparable({ fileDescriptorResponse, errorResponse, ...rest }: Answer): object {
  return {
    ...rest,
    ...(errorResponse && { errorCode: errorResponse.errorCode }),
    ...(fileDescriptorResponse && { files: fileDescriptorResponse.fileDescriptorProto.map(nameOf) }),
  };
}

function nameOf(base64: string): string {
  const file = descriptor.FileDescriptorProto.decode(Buffer.from(base64, 'base64'));
  return (file as unknown as { name: string }).name.replace(/^.*grpc/, 'grpc');
}

it.each(health.map((question) => ({ question: JSON.stringify(question), asked: question })))(
  'answers $question as Go’s own server does',
  async ({ asked }) => {
    const { address } = await startServer();
    const [[ours], [theirs]] = await Promise.all([ask(address, [asked]), ask(goAddress, [asked])]);
    expect(comparable(ours as Answer)).toEqual(comparable(theirs as Answer));
  },
);

it('lets Go’s client list the services and resolve each of them', async () => {
  const { address } = await startServer();
  const [list] = await ask(address, [{ listServices: '*' }]);
  const services = list?.listServicesResponse?.service.map(({ name }) => name) ?? [];
  expect(services).toContain('layercache.v1.LayerCacheService');
  const answers = await ask(
    address,
    services.map((name) => ({ fileContainingSymbol: name })),
  );
  const files = answers.flatMap(
    ({ fileDescriptorResponse }) => fileDescriptorResponse?.fileDescriptorProto ?? [],
  );
  const decoded = files.map((file) => descriptor.FileDescriptorProto.decode(Buffer.from(file, 'base64')));
  const root = (protobuf.Root as unknown as { fromDescriptor(set: object): protobuf.Root }).fromDescriptor({
    file: decoded,
  });
  root.resolveAll();
  for (const name of services) expect(root.lookupService(name).methodsArray.length).toBeGreaterThan(0);
});
