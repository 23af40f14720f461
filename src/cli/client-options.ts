/** The options of every command that asks a server, and the client that they make. */
import { z } from 'zod';
import type { LayerCacheClient, Pem } from '../client/layer-cache-client.js';
import { CommandError, flag, type OptionSpecs, type OptionValues } from './command.js';
import { readOptionFile } from './option-text-file.js';
import { address, day, duration, path } from './option-values.js';

const group = 'How it asks';

export const clientOptions = {
  address: {
    group,
    placeholder: 'host:port|unix:path',
    default: '127.0.0.1:50051',
    help: 'where the server is: host:port, unix:/path or dns:///name:port; several IP addresses with ports, separated by commas, are asked round robin',
    schema: serverAddress(),
  },
  'tls-ca': {
    group,
    placeholder: 'file|system',
    default: '',
    help: "authorities that the server's certificate may come from, PEM, or system for those of this machine: asks over TLS",
    schema: path(),
  },
  'tls-server-name': {
    group,
    placeholder: 'name',
    default: '',
    help: "the name that the server's certificate must have; the host of --address unless said",
    schema: path(),
  },
  'client-cert': {
    group,
    placeholder: 'file',
    default: '',
    help: 'the certificate to show, with what leads from it to a root, PEM',
    schema: path(),
  },
  'client-key': {
    group,
    placeholder: 'file',
    default: '',
    help: "that certificate's private key, PEM",
    schema: path(),
  },
  'token-file': {
    group,
    placeholder: 'file',
    default: '',
    help: 'a file with a bearer token of the registry',
    schema: path(),
  },
  timeout: {
    group,
    placeholder: 'duration',
    default: '15s',
    help: 'how long a call may take, tries in vain included; of fetch, until its first byte',
    schema: duration(1, day),
  },
  json: {
    group: 'What it prints',
    placeholder: '',
    default: '',
    help: 'print JSON, one object a line',
    schema: flag(),
  },
} satisfies OptionSpecs;

/** Of the commands whose answer may be a cached one. */
export const maxAgeOption = {
  'max-age': {
    group,
    placeholder: 'duration',
    default: '',
    help: 'how old a yes may be; 0 asks storage now, as a push wants; any age unless said, as a pull wants',
    schema: z.union([z.literal('').transform(() => undefined), duration(0, day)]),
  },
} satisfies OptionSpecs;

export type ClientOptionValues = OptionValues<typeof clientOptions>;

/** Runs `ask` with a client that these options make, and closes it. Rejects with a `CommandError` for files that cannot be used. */
export async function withClient<T>(
  options: ClientOptionValues,
  ask: (client: LayerCacheClient) => Promise<T>,
): Promise<T> {
  // Loaded only here: parsing a command line needs none of it.
  const { LayerCacheClient } = await import('../client/layer-cache-client.js');
  const token = readOptionFile('token-file', options['token-file'])?.trim();
  const tls = tlsOf(options);
  let client: LayerCacheClient;
  try {
    client = new LayerCacheClient({
      address: options.address,
      timeoutMs: options.timeout,
      ...(tls !== undefined && { tls }),
      ...(token !== undefined && { token }),
    });
  } catch (cause) {
    throw new CommandError(`cannot connect by these options: ${(cause as Error).message}`, {
      exitCode: 2,
      cause,
    });
  }
  try {
    return await ask(client);
  } finally {
    client.close();
  }
}

function tlsOf(options: ClientOptionValues) {
  const ca = options['tls-ca'];
  const cert = readOptionFile('client-cert', options['client-cert']);
  const key = readOptionFile('client-key', options['client-key']);
  const serverName = options['tls-server-name'];
  if ((cert === undefined) !== (key === undefined))
    throw new CommandError('--client-cert and --client-key need one another', { exitCode: 2 });
  if (ca === undefined) {
    if (cert === undefined && serverName === undefined) return undefined;
    throw new CommandError('TLS needs --tls-ca: a file, or system', { exitCode: 2 });
  }
  const authorities: Pem =
    ca === 'system'
      ? process.getBuiltinModule('node:tls').getCACertificates('system').join('\n')
      : (readOptionFile('tls-ca', ca) ?? '');
  return {
    ca: authorities,
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(serverName !== undefined && { serverName }),
  };
}

/** One target of gRPC, or several addresses. */
function serverAddress(): z.ZodType<string | readonly string[], string> {
  return z.string().transform((text, context) => {
    if (/^(unix:.|dns:.)/.test(text)) return text;
    const each = text.split(',');
    if (each.every((one) => address().safeParse(one).success)) return each.length === 1 ? text : each;
    context.addIssue('must be host:port, unix:/path or dns:///name:port, such as 127.0.0.1:50051');
    return z.NEVER;
  });
}
