import { create, toBinary } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { DescribedFiles } from '../../src/grpc/described-files.js';

const extension = (name: string, number: number) => ({
  name,
  number,
  extendee: '.base.Extended',
  label: FieldDescriptorProto_Label.OPTIONAL,
  type: FieldDescriptorProto_Type.STRING,
});

/** A message that takes extensions, in a file that two others import. */
const files = new DescribedFiles([
  toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, {
      file: [
        {
          name: 'base.proto',
          package: 'base',
          syntax: 'proto2',
          messageType: [{ name: 'Extended', extensionRange: [{ start: 100, end: 200 }] }],
          enumType: [{ name: 'Colour', value: [{ name: 'RED', number: 0 }] }],
        },
        {
          name: 'more.proto',
          package: 'more',
          syntax: 'proto2',
          dependency: ['base.proto'],
          extension: [extension('second', 120), extension('first', 101)],
        },
        {
          name: 'most.proto',
          package: 'most',
          syntax: 'proto2',
          dependency: ['more.proto', 'base.proto'],
          messageType: [{ name: 'Scope', extension: [extension('inner', 110)] }],
        },
        {
          name: 'bare.proto',
          syntax: 'proto3',
          enumType: [{ name: 'Size', value: [{ name: 'SMALL', number: 0 }] }],
        },
      ],
    }),
  ),
]);

describe('files with extensions', () => {
  it('have all numbers of a type, ascending, wherever they were declared', () => {
    expect(files.extensionNumbers('base.Extended')).toEqual([101, 110, 120]);
    expect(files.extensionNumbers('more.first')).toEqual([]);
    expect(files.extensionNumbers('base.Missing')).toBeUndefined();
  });

  it('are found by the extended type and the number', () => {
    expect(files.extending('base.Extended', 101)).toBe('more.proto');
    expect(files.extending('base.Extended', 110)).toBe('most.proto');
    expect(files.extending('base.Extended', 111)).toBeUndefined();
  });

  it.each([
    ['more.second', 'more.proto'],
    ['most.Scope.inner', 'most.proto'],
    ['base.RED', 'base.proto'],
    ['base.Colour.RED', undefined],
    ['SMALL', 'bare.proto'],
    ['base', undefined],
  ])('declare %s in %s', (symbol, file) => {
    expect(files.declaring(symbol)).toBe(file);
  });

  it('come with their imports, direct and transitive, each once', () => {
    expect(files.withImports('most.proto', new Set())).toHaveLength(3);
    const sent = new Set<string>();
    expect(files.withImports('more.proto', sent)).toHaveLength(2);
    expect(files.withImports('most.proto', sent)).toHaveLength(1);
    expect(files.withImports('missing.proto', sent)).toEqual([]);
  });
});
