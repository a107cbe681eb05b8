/** What is known of a stored object without reading it. */
export interface ObjectInfo {
  readonly key: string
  readonly bytes: number
  readonly mediaType: string
  /** When it was written last. */
  readonly modified: Date
  /** Changes whenever the object is written; says nothing of its contents. */
  readonly version: string
}

/** A part of an object's bytes. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** What is written: text, bytes, or a stream of as many bytes as `bytes` says. */
export type Content = string | Uint8Array | ReadableStream<Uint8Array>

export interface Writing {
  readonly mediaType: string
  /** Needed for a stream, which is refused where it has another length. */
  readonly bytes?: number
  /** Lower-case hex; contents that do not have it are refused. */
  readonly sha256?: string
  /** Write only where there is no object, or only over this version of it. */
  readonly only?: 'absent' | { readonly version: string }
}

/**
 * What the edge needs of an object store. Every implementation passes `conformance.ts`:
 *
 * - a write is atomic: readers find the old object or the new one, whole; after a failed write, the old one;
 * - what was written is read by whoever asks afterwards;
 * - of several conditional writes over the same version, one succeeds.
 */
export interface Storage {
  /** Null where there is no object. */
  facts(key: string): Promise<ObjectInfo | null>
  /**
   * An object, or null where there is none; its bytes are streamed, never in memory at once.
   * @param range within the object; all of it unless told
   */
  read(
    key: string,
    range?: ByteRange,
  ): Promise<{ facts: ObjectInfo; body: ReadableStream<Uint8Array> } | null>
  /**
   * Writes an object.
   * @returns null where `only` forbids it
   * @throws Mismatch where length or hash are not those promised
   */
  put(key: string, content: Content, writing: Writing): Promise<ObjectInfo | null>
  /** Keys that begin with `prefix`, in the order of their characters, at most `limit` (1000) of them after `after`. */
  list(
    prefix: string,
    options?: { after?: string; limit?: number },
  ): Promise<{ objects: ObjectInfo[]; more: boolean }>
  /** Removes objects; those that are not there count as removed. */
  remove(keys: readonly string[]): Promise<void>
}

/** Contents are not those that were promised. */
export class Mismatch extends Error {
  override readonly name = 'Mismatch'
}

/** A small object as text, with its version, or null. */
export async function readText(
  storage: Storage,
  key: string,
): Promise<{ text: string; version: string } | null> {
  const found = await storage.read(key)
  if (found === null) return null
  return { text: await new Response(found.body).text(), version: found.facts.version }
}

/** Every object whose key begins so, page by page. */
export async function* listAll(storage: Storage, prefix: string): AsyncGenerator<ObjectInfo> {
  let after: string | undefined
  for (;;) {
    const { objects, more } = await storage.list(prefix, after === undefined ? {} : { after })
    yield* objects
    if (!more || objects.length === 0) return
    after = objects.at(-1)!.key
  }
}
