import {
  createFileRegistry,
  type DescEnum,
  type DescExtension,
  type DescMessage,
  type DescService,
  type FileRegistry,
  fromBinary,
} from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/** Compiled `.proto` files, by what a reflection client asks for. */
export class DescribedFiles {
  readonly #registry: FileRegistry;
  readonly #encoded = new Map<string, Buffer>();
  /** The file that declares each fully qualified name. */
  readonly #declaring = new Map<string, string>();
  /** By extended type and field number, the file with the extension. */
  readonly #extensions = new Map<string, Map<number, string>>();

  /** `sets`: encoded `FileDescriptorSet`s, imports included; of two files with one name the first counts. */
  constructor(sets: readonly Uint8Array[]) {
    for (const bytes of sets.flatMap(encodedFiles)) {
      const { name } = fromBinary(FileDescriptorProtoSchema, bytes);
      // Sent as they were compiled: encoding them again may lose options.
      if (!this.#encoded.has(name)) this.#encoded.set(name, bytes);
    }
    const file = [...this.#encoded.values()].map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    const set = fromBinary(FileDescriptorSetSchema, new Uint8Array());
    this.#registry = createFileRegistry({ ...set, file });
    for (const type of this.#registry) this.#index(type);
  }

  /** The file's own name, if there is such a file. */
  named(file: string): string | undefined {
    return this.#encoded.has(file) ? file : undefined;
  }

  /** The file that declares a type, service, method, field, oneof, enum value or extension. */
  declaring(symbol: string): string | undefined {
    return this.#declaring.get(symbol);
  }

  extending(type: string, fieldNumber: number): string | undefined {
    return this.#extensions.get(type)?.get(fieldNumber);
  }

  /** Numbers of all extensions of a type, ascending; `undefined` when nothing has that name. */
  extensionNumbers(type: string): number[] | undefined {
    const numbers = [...(this.#extensions.get(type)?.keys() ?? [])].sort((a, b) => a - b);
    return numbers.length > 0 || this.#declaring.has(type) ? numbers : undefined;
  }

  /** The encoded file, and what it imports, near and far, that is not in `sent` yet. */
  withImports(file: string, sent: Set<string>): Buffer[] {
    const found: Buffer[] = [];
    const queue = [file];
    const visited = new Set<string>();
    for (const name of queue) {
      if (visited.has(name)) continue;
      visited.add(name);
      const encoded = this.#encoded.get(name);
      if (encoded === undefined) continue;
      if (name === file || !sent.has(name)) found.push(encoded);
      sent.add(name);
      queue.push(...(this.#registry.getFile(name)?.proto.dependency ?? []));
    }
    return found;
  }

  #index(type: DescMessage | DescEnum | DescExtension | DescService): void {
    const file = type.file.proto.name;
    const declare = (name: string) => this.#declaring.set(name, file);
    declare(type.typeName);
    switch (type.kind) {
      case 'message':
        for (const { name } of [...type.fields, ...type.oneofs]) declare(`${type.typeName}.${name}`);
        return;
      case 'enum': {
        // Values are siblings of their enum, as in C++.
        const scope = type.typeName.slice(0, type.typeName.lastIndexOf('.') + 1);
        for (const { name } of type.values) declare(`${scope}${name}`);
        return;
      }
      case 'service':
        for (const { name } of type.methods) declare(`${type.typeName}.${name}`);
        return;
      case 'extension': {
        const extended = type.extendee.typeName;
        const numbers = this.#extensions.get(extended) ?? new Map<number, string>();
        this.#extensions.set(extended, numbers.set(type.number, file));
      }
    }
  }
}

/** The files of a `FileDescriptorSet`, whose only field is `repeated FileDescriptorProto file = 1`. */
function encodedFiles(set: Uint8Array): Buffer[] {
  const reader = new BinaryReader(set);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    reader.tag();
    files.push(Buffer.from(reader.bytes()));
  }
  return files;
}
