/** The storage URL is wrong, or the module it names is no driver. The message is one line for the operator. */
export class StorageUrlError extends Error {
  override readonly name = 'StorageUrlError';
}
