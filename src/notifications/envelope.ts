/**
 * What distribution's webhook sends (its `notifications` package): an envelope
 * of events, each of which says what was done to a blob or a manifest of which
 * repository. Nothing in it is believed but the names: storage says what is true.
 */
import { z } from 'zod';
import { parseDigest } from '../reference/digest.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { isManifestType } from './manifest.js';
import { type Action, actions, type EventTarget } from './notification-observer.js';

/**
 * What there is to do about an event: look up what storage has of a layer, or of
 * each layer that a manifest names; or nothing, for a pull, a tag, an action of
 * somebody else's, a name that is none.
 */
export type Event =
  | { readonly kind: 'layer' | 'manifest'; readonly action: Action; readonly target: EventTarget }
  | { readonly kind: 'void'; readonly action: Action; readonly target?: undefined };

/** The text is no envelope. */
export class EnvelopeError extends Error {
  override readonly name = 'EnvelopeError';
}

/** The media types of the envelopes of distribution 2 and 3. */
export function isEnvelopeType(contentType: string | undefined): boolean {
  return /^application\/vnd\.docker\.distribution\.events\.v[12]\+json\s*(?:;|$)/i.test(contentType ?? '');
}

const envelope = z.object({ events: z.array(z.unknown()) });

const event = z.object({
  action: z.string(),
  target: z.object({
    mediaType: z.string().optional(),
    digest: z.string().optional(),
    repository: z.string().optional(),
  }),
});

/** The events of an envelope. Throws an `EnvelopeError`, which quotes nothing. */
export function parseEnvelope(text: string): Event[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new EnvelopeError('the body is no JSON');
  }
  const { data } = envelope.safeParse(json);
  if (data === undefined) throw new EnvelopeError('the body is no envelope of events');
  return data.events.map(read);
}

function read(json: unknown): Event {
  const { data } = event.safeParse(json);
  if (data === undefined) return { kind: 'void', action: 'other' };
  const action = actions.find((name) => name === data.action) ?? 'other';
  const { mediaType, digest: digestText = '', repository: name = '' } = data.target;
  const digest = parseDigest(digestText);
  const repository = parseRepositoryName(name);
  if (action === 'pull' || action === 'other' || digest === undefined || repository === undefined) {
    return { kind: 'void', action };
  }
  const isManifest = action !== 'delete' && isManifestType(mediaType);
  return { kind: isManifest ? 'manifest' : 'layer', action, target: { repository, digest } };
}
