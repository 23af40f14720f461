/** Server reflection as grpcurl asks it, v1 or v1alpha. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Client, type ClientDuplexStream, credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

export type ReflectionVersion = 'v1' | 'v1alpha';

export interface ReflectionAnswer {
  readonly validHost?: string;
  readonly originalRequest?: object;
  readonly allExtensionNumbersResponse?: { baseTypeName: string; extensionNumber: number[] };
  readonly listServicesResponse?: { service: { name: string }[] };
  readonly fileDescriptorResponse?: { fileDescriptorProto: Buffer[] };
  readonly errorResponse?: { errorCode: number; errorMessage: string };
}

type Stub = Client & {
  ServerReflectionInfo(): ClientDuplexStream<object, ReflectionAnswer>;
};

export class ReflectionClient {
  readonly #stub: Stub;

  constructor(address: string, version: ReflectionVersion) {
    const root = dirname(createRequire(import.meta.url).resolve('@grpc/reflection/package.json'));
    const file = join(root, `build/proto/grpc/reflection/${version}/reflection.proto`);
    const loaded = loadPackageDefinition(loadSync(file, { arrays: true })) as unknown as {
      grpc: {
        reflection: Record<ReflectionVersion, { ServerReflection: new (...args: unknown[]) => Stub }>;
      };
    };
    this.#stub = new loaded.grpc.reflection[version].ServerReflection(address, credentials.createInsecure());
  }

  async ask(question: object): Promise<ReflectionAnswer> {
    const [answer] = await this.askAll([question]);
    return answer ?? {};
  }

  /** Asks on one stream; the answers in their order. */
  askAll(questions: readonly object[]): Promise<ReflectionAnswer[]> {
    return new Promise((resolve, reject) => {
      const stream = this.open();
      const answers: ReflectionAnswer[] = [];
      stream.on('data', (message) => answers.push(message));
      stream.on('error', reject).on('end', () => resolve(answers));
      for (const question of questions) stream.write(question);
      stream.end();
    });
  }

  open(): ClientDuplexStream<object, ReflectionAnswer> {
    return this.#stub.ServerReflectionInfo();
  }

  close(): void {
    this.#stub.close();
  }
}
