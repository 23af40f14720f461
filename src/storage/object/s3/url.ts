import { StorageUrlError } from '../../storage-url-error.js';
import { prefixOf, UrlParameters } from '../url.js';

/** Where a registry's storage lies in S3, and how to get there. */
export interface S3Location {
  readonly bucket: string;
  /** What every key begins with, a slash at its end; empty for the bucket itself. The registry's `rootdirectory`. */
  readonly prefix: string;
  /** `undefined` leaves it to the environment. */
  readonly region: string | undefined;
  /** `undefined` is Amazon's own. */
  readonly endpoint: string | undefined;
  /** The address that redirected clients reach; `undefined` is the endpoint. */
  readonly redirectEndpoint: string | undefined;
  /** Whether the bucket stands in the path instead of the host name. */
  readonly pathStyle: boolean;
  /** The most connections for bodies. */
  readonly connections: number;
}

const names = ['region', 'endpoint', 'path-style', 'redirect-endpoint', 'connections'];

/** `location` is the URL before its question mark, `query` what is behind it. Throws `StorageUrlError`. */
export function parseS3Url(location: string, query: string): S3Location {
  const match = /^s3:\/\/(?<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,254})(?<path>\/[^#]*)?$/i.exec(location);
  const { bucket, path = '' } = match?.groups ?? {};
  if (bucket === undefined) {
    throw new StorageUrlError(
      'an S3 storage is written s3://bucket/prefix?region=…; credentials come from the environment',
    );
  }
  const parameters = new UrlParameters('s3', query, names);
  const endpoint = parameters.address('endpoint');
  return {
    bucket,
    prefix: prefixOf(path),
    // Stores other than Amazon's have one region, whatever its name.
    region: parameters.text('region') ?? (endpoint && 'us-east-1'),
    endpoint,
    redirectEndpoint: parameters.address('redirect-endpoint'),
    pathStyle: parameters.isTrue('path-style'),
    connections: parameters.connections(),
  };
}
