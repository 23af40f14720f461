/** Which blobs a manifest names: of OCI and Docker image manifests and artifact manifests, config and layers. */
import { z } from 'zod';

/** The most bytes of a manifest, as registries have it. */
export const maxManifestBytes = 4 << 20;

const descriptor = z.object({
  mediaType: z.string().optional(),
  digest: z.string(),
  data: z.base64().optional(),
});

const shape = z.object({
  config: descriptor.optional(),
  layers: z.array(descriptor).optional(),
  blobs: z.array(descriptor).optional(),
  fsLayers: z.array(z.object({ blobSum: z.string() })).optional(),
  manifests: z.array(descriptor).optional(),
});

export type Descriptor = z.output<typeof descriptor>;

export interface Manifest {
  /** The digests of the blobs that it names and that registries keep, as they are written. */
  readonly blobs: readonly string[];
  /** Of an index: the manifests that it names. */
  readonly manifests: readonly Descriptor[] | undefined;
}

/** Reads a manifest or an index; `undefined` for what is neither. Throws a `SyntaxError` for what is no JSON. */
export function parseManifest(text: string): Manifest | undefined {
  const { data } = shape.safeParse(JSON.parse(text));
  if (data === undefined || Object.keys(data).length === 0) return undefined;
  const { config, layers = [], blobs = [], fsLayers = [], manifests } = data;
  const described = [config ?? [], layers, blobs].flat().filter(isDistributed);
  const texts = [...described.map(({ digest }) => digest), ...fsLayers.map(({ blobSum }) => blobSum)];
  return { blobs: texts, manifests };
}

/** Whether a blob of that type is a manifest or an index. */
export function isManifestType(mediaType: string | undefined): boolean {
  return /^application\/vnd\.(?:docker\.distribution\.manifest\.|oci\.(?:image\.(?:manifest|index)|artifact\.manifest)\.)/.test(
    mediaType ?? '',
  );
}

/** Layers that no registry keeps, such as Windows' base layers. */
function isDistributed({ mediaType = '' }: Descriptor): boolean {
  return !mediaType.includes('nondistributable') && !mediaType.includes('foreign');
}
