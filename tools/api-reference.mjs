// The API's reference in Markdown, made from the comments of the proto as the build's descriptor set keeps them.
import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';

// Numbers of fields in descriptor.proto, by which source locations name what they describe.
const parts = { message: 4, enum: 5, service: 6, syntax: 12, field: 2, value: 2, method: 2 };

export function apiReference(descriptorSet, name) {
  const { file: files } = fromBinary(FileDescriptorSetSchema, readFileSync(descriptorSet));
  const file = files.find((each) => each.name === name);
  if (file?.sourceCodeInfo === undefined) throw new Error(`${descriptorSet} has no comments of ${name}`);
  const locations = new Map(file.sourceCodeInfo.location.map((each) => [each.path.join('.'), each]));
  const comment = (...path) => unindent(locations.get(path.join('.'))?.leadingComments ?? '');
  const prefix = `.${file.package}.`;

  const introduction = comment(parts.syntax).replace(/^## /gm, '### ');
  // What is laid out in columns keeps them.
  const sections = [introduction.replace(/(?:^ {2}.*\n)+/gm, (lines) => `\`\`\`text\n${lines}\`\`\`\n`)];
  for (const [s, service] of file.service.entries()) {
    sections.push(`## ${service.name}`, comment(parts.service, s));
    for (const [m, method] of service.method.entries()) {
      const streamed = method.serverStreaming ? 'stream ' : '';
      const [request, response] = [method.inputType, method.outputType].map((type) => link(type, prefix));
      sections.push(`### ${method.name}`, `${request} → ${streamed}${response}`);
      sections.push(comment(parts.service, s, parts.method, m));
    }
  }
  sections.push('## Messages');
  for (const [m, message] of file.messageType.entries()) {
    sections.push(`### ${message.name}`, comment(parts.message, m));
    if (message.field.length === 0) {
      sections.push('No fields.');
      continue;
    }
    const rows = message.field.map((field, f) => {
      const what = cell(comment(parts.message, m, parts.field, f));
      return `| \`${field.name}\` | ${field.number} | ${typeOf(field, prefix)} | ${what} |`;
    });
    sections.push(['| field | number | type | meaning |', '|---|---|---|---|', ...rows].join('\n'));
  }
  sections.push('## Enums');
  for (const [e, enumeration] of file.enumType.entries()) {
    const rows = enumeration.value.map(
      (value, v) =>
        `| \`${value.name}\` | ${value.number} | ${cell(comment(parts.enum, e, parts.value, v))} |`,
    );
    sections.push(`### ${enumeration.name}`, comment(parts.enum, e));
    sections.push(['| value | number | meaning |', '|---|---|---|', ...rows].join('\n'));
  }
  return sections.filter((each) => each !== '').join('\n\n');
}

function typeOf(field, prefix) {
  const isNamed = field.typeName !== '';
  const name = isNamed
    ? link(field.typeName, prefix)
    : `\`${FieldDescriptorProto_Type[field.type].toLowerCase()}\``;
  return field.label === FieldDescriptorProto_Label.REPEATED ? `repeated ${name}` : name;
}

function link(type, prefix) {
  if (!type.startsWith(prefix)) return `\`${type.slice(1)}\``;
  const name = type.slice(prefix.length);
  return `[${name}](#${name.toLowerCase()})`;
}

function unindent(text) {
  return text.replace(/^ /gm, '').trim();
}

function cell(text) {
  return text.replaceAll('|', '\\|').replace(/\s*\n\s*/g, ' ');
}
