/** The gRPC port over TLS: the same calls and bytes, unknown clients at a bounded cost, certificates renewed. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectPlain, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Listeners } from '../../src/grpc/listeners.js';
import { TlsHandshakes } from '../../src/grpc/tls-handshakes.js';
import { TlsKeyPairError } from '../../src/grpc/tls-key-pair.js';
import { CertificateAuthority, type IssuedCertificate } from '../parts/certificate-authority.js';
import { digest, otherDigest, repository, ScriptedLayer } from '../rpc/scripted-layers.js';
import { ask, failure, fetchAll, startServer } from '../rpc/started-server.js';
import { expectOwnBytesAfterReset } from './reset-while-sending.js';

let authority: CertificateAuthority;
let other: CertificateAuthority;
let own: IssuedCertificate;
let next: IssuedCertificate;
let client: IssuedCertificate;
let foreign: IssuedCertificate;
beforeAll(async () => {
  [authority, other] = await Promise.all([CertificateAuthority.create(), CertificateAuthority.create()]);
  const names = ['IP:127.0.0.1', 'DNS:localhost'];
  [own, next, client, foreign] = await Promise.all([
    authority.issue({ names }),
    authority.issue({ names }),
    authority.issue({ names: ['DNS:frontend'] }),
    other.issue({ names: ['DNS:frontend'] }),
  ]);
});
afterAll(() => Promise.all([authority.delete(), other.delete()]));

const identity = ({ cert, key }: IssuedCertificate, clientCa?: IssuedCertificate) => ({
  cert,
  key,
  clientCa: clientCa?.cert,
});
const trusting = (by?: IssuedCertificate) => credentials.createSsl(authority.cert, by?.key, by?.cert);
const request = { repository, digest, maxAge: undefined };

/** A TLS connection that goes when the test ends; resolves once the handshake is done. */
async function handshake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    ca: authority.cert,
    ALPNProtocols: ['h2'],
    ...options,
  });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

/** What becomes of a connection: an error's code, that it was closed, or that HTTP/2 was answered. */
async function outcome(port: number, options: ConnectionOptions = {}): Promise<string> {
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    ca: authority.cert,
    ALPNProtocols: ['h2'],
    ...options,
  });
  onTestFinished(() => void socket.destroy());
  return await new Promise((resolve) => {
    socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    // With TLS 1.3 a client hears of it only after its own end of the handshake.
    socket.on('close', () => resolve('closed'));
    socket.on('data', () => resolve('answered'));
  });
}

describe('over TLS', () => {
  it('all calls are answered', async () => {
    const { connect } = await startServer({}, { tls: identity(own) });
    const layers = connect({}, trusting());
    const named = { repository, digest };
    expect(await ask((done) => layers.exists(request, done))).toMatchObject({ exists: true });
    expect(await ask((done) => layers.stat(request, done))).toMatchObject({ length: 42n });
    const digests = [digest, otherDigest];
    expect(await ask((done) => layers.findMissing({ repository, digests, maxAge: undefined }, done))).toEqual(
      { missingDigests: digests },
    );
    expect(await ask((done) => layers.contains(named, done))).toEqual({ contains: true });
    expect(await ask((done) => layers.add(named, done))).toEqual({});
    expect(await ask((done) => layers.getMeta({ digest }, done))).toMatchObject({ meta: { length: 42n } });
    const meta = { path: '/a/path', length: 42n };
    expect(await ask((done) => layers.setMeta({ digest, meta }, done))).toEqual({});
    expect(await ask((done) => layers.remove(named, done))).toEqual({});
    expect(Buffer.concat((await fetchAll(layers)).chunks).toString()).toBe('layer');
    expect((await failure(ask((done) => layers.stat({ ...request, digest: 'x' }, done)))).code).toBe(
      status.INVALID_ARGUMENT,
    );
  });

  it.each([1, 64 << 10, (64 << 10) + 1, (40 << 20) + 7])(
    'a layer of %i bytes comes whole',
    async (length) => {
      const { connect, layers } = await startServer({}, { tls: identity(own) });
      const bytes = randomBytes(length);
      layers.fetch = async () => new ScriptedLayer(bytes);
      const { chunks, headers } = await fetchAll(connect({}, trusting()));
      expect(headers).toMatchObject([{ length: BigInt(length) }]);
      expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    },
  );

  it('streams at once on one connection keep their bytes apart', async () => {
    const { connect, layers } = await startServer({}, { tls: identity(own) });
    const contents = Array.from({ length: 8 }, (_, index) => Buffer.alloc(6 << 20, index + 1));
    let asked = 0;
    layers.fetch = async () => new ScriptedLayer(contents[asked++] ?? Buffer.alloc(0));
    const client = connect({}, trusting());
    const fetched = await Promise.all(contents.map(() => fetchAll(client)));
    const firsts = fetched.map(({ chunks }) => {
      const bytes = Buffer.concat(chunks);
      expect(contents.some((content) => content.equals(bytes))).toBe(true);
      return bytes[0] ?? 0;
    });
    expect(firsts.sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("a stream that is reset while the connection still sends brings no byte of another's layer", async () => {
    const { port, layers, connect } = await startServer({ chunkSize: 2 << 20 }, { tls: identity(own) });
    const socket = await handshake(port);
    await expectOwnBytesAfterReset(socket, layers, () => fetchAll(connect({}, trusting())));
  });

  it('a drain lets what has begun finish, and a cut ends the rest', async () => {
    const { server, connect, layers, observed } = await startServer({}, { tls: identity(own) });
    const bytes = randomBytes(8 << 20);
    const layer = new ScriptedLayer(bytes);
    const mayGoOn = Promise.withResolvers<void>();
    layer.beforeRead = (read) => (read === 3 ? mayGoOn.promise : Promise.resolve());
    layers.fetch = async () => layer;
    const fetched = fetchAll(connect({}, trusting()));
    await observed.begun(0);
    const draining = server.drain(60_000);
    mayGoOn.resolve();
    expect(Buffer.concat((await fetched).chunks).equals(bytes)).toBe(true);
    await draining;

    const second = await startServer({}, { tls: identity(own) });
    second.layers.exists = () => new Promise(() => {});
    const hanging = failure(ask((done) => second.connect({}, trusting()).exists(request, done)));
    await second.observed.begun(0);
    await second.server.cut();
    expect([status.UNAVAILABLE, status.CANCELLED]).toContain((await hanging).code);
  });

  it('what is not TLS 1.2 or newer with HTTP/2 is refused, and others are served', async () => {
    const { port, connect } = await startServer({}, { tls: identity(own) });
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    expect(await outcome(port, old)).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    expect(await outcome(port, { ALPNProtocols: ['http/1.1'] })).toBe(
      'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    );
    const { ALPNProtocols: _, ...none } = { ALPNProtocols: undefined };
    const silent = connectTls({ port, host: '127.0.0.1', ca: authority.cert, ...none });
    await once(silent.resume(), 'close');
    const plain = connectPlain(port, '127.0.0.1');
    plain.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    plain.on('error', () => {});
    await once(plain.resume(), 'close');
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await handshake(port, { minVersion: version, maxVersion: version });
      expect(socket.getProtocol()).toBe(version);
    }
    expect(await ask((done) => connect({}, trusting()).exists(request, done))).toMatchObject({
      exists: true,
    });
  });
});

describe('with authorities of client certificates', () => {
  it('only a client with a certificate of theirs can connect', async () => {
    const { port, connect, observed } = await startServer({}, { tls: identity(own, authority) });
    for (const by of [undefined, foreign]) {
      const refused: ServiceError = await failure(
        ask((done) => connect({}, trusting(by)).exists(request, done)),
      );
      expect(refused.code).toBe(status.UNAVAILABLE);
    }
    expect(await outcome(port)).toBe('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
    expect(await outcome(port, foreign)).toBe('closed');
    expect(observed.calls).toEqual([]);
    const known = connect({}, trusting(client));
    expect(await ask((done) => known.exists(request, done))).toMatchObject({ exists: true });
    expect(Buffer.concat((await fetchAll(known)).chunks).toString()).toBe('layer');
  });
});

describe('a handshake', () => {
  async function startHandshakes(limits: { timeoutMs: number; maxPending: number }) {
    const accepted: TLSSocket[] = [];
    const handshakes = new TlsHandshakes(identity(own), (socket) => accepted.push(socket), limits);
    const listeners = new Listeners((socket) => handshakes.begin(socket), {
      maxConnections: 1000,
      prefaceTimeoutMs: 60_000,
      onRefused: () => {},
    });
    onTestFinished(() => {
      listeners.close();
      listeners.destroy();
    });
    return { handshakes, accepted, port: await listeners.listen('127.0.0.1:0') };
  }

  function silent(port: number): { socket: Socket; closed: Promise<unknown> } {
    const socket = connectPlain(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    // What is written to a connection that was just closed resets it: an end like another.
    const closed = new Promise<void>((resolve) => {
      socket.resume().on('error', () => {});
      socket.once('close', () => resolve());
    });
    return { socket, closed };
  }

  it('that is silent, or drips, ends at its deadline', async () => {
    const { handshakes, port } = await startHandshakes({ timeoutMs: 100, maxPending: 10 });
    const mute = silent(port);
    const slow = silent(port);
    // The first bytes of a ClientHello of 512 bytes that never comes.
    const drip = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
    const timer = setInterval(() => slow.socket.write(Buffer.of(drip.shift() ?? 0)), 20);
    await Promise.all([mute.closed, slow.closed]);
    clearInterval(timer);
    await expect.poll(() => handshakes.pending).toBe(0);
  });

  it('beyond the limit at once ends the oldest, and one that continues completes', async () => {
    const { handshakes, accepted, port } = await startHandshakes({ timeoutMs: 60_000, maxPending: 3 });
    const first = silent(port);
    await once(first.socket, 'connect');
    const others = Array.from({ length: 20 }, () => silent(port));
    await first.closed;
    await Promise.all(others.slice(0, -3).map(({ socket }) => once(socket, 'close')));
    expect(handshakes.pending).toBe(3);
    await handshake(port);
    await expect.poll(() => accepted.length).toBe(1);
    expect(handshakes.pending).toBe(2);
  });

  it('that was ended by its client is forgotten', async () => {
    const { handshakes, port } = await startHandshakes({ timeoutMs: 60_000, maxPending: 3 });
    const gone = silent(port);
    await once(gone.socket, 'connect');
    gone.socket.end();
    await gone.closed;
    await expect.poll(() => handshakes.pending).toBe(0);
  });
});

describe('a renewed identity', () => {
  it('is what new connections get, while an open stream continues', async () => {
    const { server, port, connect, layers, observed } = await startServer({}, { tls: identity(own) });
    const bytes = randomBytes(8 << 20);
    const layer = new ScriptedLayer(bytes);
    const mayGoOn = Promise.withResolvers<void>();
    layer.beforeRead = (read) => (read === 3 ? mayGoOn.promise : Promise.resolve());
    layers.fetch = async () => layer;
    const standing = connect({}, trusting());
    const fetched = fetchAll(standing);
    await observed.begun(0);
    const before = (await handshake(port)).getPeerCertificate().serialNumber;
    server.renewTls(identity(next));
    const after = (await handshake(port)).getPeerCertificate().serialNumber;
    expect(after).not.toBe(before);
    expect(await ask((done) => standing.exists(request, done))).toMatchObject({ exists: true });
    mayGoOn.resolve();
    expect(Buffer.concat((await fetched).chunks).equals(bytes)).toBe(true);
  });

  it('that is no pair changes nothing', async () => {
    const { server, port, connect } = await startServer({}, { tls: identity(own) });
    const before = (await handshake(port)).getPeerCertificate().serialNumber;
    const rubbish = Buffer.from('rubbish');
    for (const bad of [
      { cert: next.cert, key: own.key, clientCa: undefined },
      { cert: rubbish, key: own.key, clientCa: undefined },
      { cert: next.cert, key: rubbish, clientCa: undefined },
      { cert: next.cert, key: next.key, clientCa: rubbish },
    ])
      expect(() => server.renewTls(bad)).toThrow(TlsKeyPairError);
    expect((await handshake(port)).getPeerCertificate().serialNumber).toBe(before);
    expect(await ask((done) => connect({}, trusting()).exists(request, done))).toMatchObject({
      exists: true,
    });
  });

  it('of client authorities is asked of a client that resumes a session too', async () => {
    const { server, port } = await startServer({}, { tls: identity(own, other) });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      server.renewTls(identity(own, other));
      expect(await outcome(port, { ...foreign, maxVersion })).toBe('answered');
      const first = await handshake(port, { ...foreign, maxVersion });
      const session = first.getSession() ?? (await once(first, 'session'))[0];
      first.resume();
      server.renewTls(identity(own, authority));
      expect(await outcome(port, { ...foreign, maxVersion, session })).not.toBe('answered');
    }
  });
});
