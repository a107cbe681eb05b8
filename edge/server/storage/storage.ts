import { UserError } from '@ddpm/shared'

/** Metadata of a stored object. */
export interface ObjectInfo {
  readonly key: string
  readonly bytes: number
  readonly mediaType: string
  /** Time of the last write. */
  readonly modified: Date
  /** Opaque value that changes with every write, even if the content stays the same. */
  readonly version: string
}

/** A part of an object, in bytes. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** Content to write. A stream must be exactly `PutOptions.bytes` long. */
export type Content = string | Uint8Array | ReadableStream<Uint8Array>

export interface PutOptions {
  readonly mediaType: string
  /** Expected length, required for a stream. Content of another length is rejected. */
  readonly bytes?: number
  /** Expected SHA-256 in lower-case hexadecimal. Content with another hash is rejected. */
  readonly sha256?: string
  /** Precondition: write only if there is no object, or only over this version of it. */
  readonly onlyIf?: 'absent' | { readonly version: string }
}

/**
 * The object store that the server runs on. Every implementation passes `conformance.test.ts`:
 *
 * - A write is atomic: readers see the old object or the new one, complete. After a failed write they see the old one.
 * - A read after a write returns what was written.
 * - Of concurrent conditional writes over the same version, exactly one succeeds.
 */
export interface Storage {
  /** Returns the metadata of an object, or null if there is none. */
  head(key: string): Promise<ObjectInfo | null>
  /**
   * Returns the current version of an object, or null if there is none. Only in stores that can do it synchronously, which
   * takes a tenth of the processor time of `head`.
   */
  currentVersion?(key: string): string | null
  /**
   * Reads an object as a stream, so that the complete object is never in memory.
   * @param range within the object. Default: all of it.
   * @returns null if there is no object
   */
  read(key: string, range?: ByteRange): Promise<{ info: ObjectInfo; body: ReadableStream<Uint8Array> } | null>
  /**
   * Writes an object.
   * @returns null if the precondition `onlyIf` is not met
   * @throws ContentMismatch if the content does not have the expected length or hash
   * @throws StorageFull if there is no space left
   */
  put(key: string, content: Content, options: PutOptions): Promise<ObjectInfo | null>
  /**
   * Lists objects whose keys start with `prefix`, sorted by key.
   * @param options.after lists only keys greater than this one
   * @param options.limit maximum number of objects. Default and maximum: 1000.
   */
  list(
    prefix: string,
    options?: { after?: string; limit?: number },
  ): Promise<{ objects: ObjectInfo[]; more: boolean }>
  /** Removes objects. Missing objects are ignored. */
  remove(keys: readonly string[]): Promise<void>
}

/** Error for content without the expected length or hash. */
export class ContentMismatch extends Error {
  override readonly name = 'ContentMismatch'
}

/** Error for a write to a full store. */
export class StorageFull extends UserError {}

/** Reads a small object as text. Returns null if there is none. */
export async function readText(
  storage: Storage,
  key: string,
): Promise<{ text: string; version: string } | null> {
  const object = await storage.read(key)
  if (object === null) return null
  return { text: await new Response(object.body).text(), version: object.info.version }
}

/** Lists all objects whose keys start with `prefix`, page by page. */
export async function* listAll(storage: Storage, prefix: string): AsyncGenerator<ObjectInfo> {
  let after: string | undefined
  for (;;) {
    const { objects, more } = await storage.list(prefix, after === undefined ? {} : { after })
    yield* objects
    if (!more || objects.length === 0) return
    after = objects.at(-1)!.key
  }
}
