import type { R2Bucket } from '@cloudflare/workers-types'

/** What is known of a stored object without reading it. */
export interface StoredFacts {
  bytes: number
  mediaType: string
  uploaded: Date
  /** Changes with the content; not a hash that the content can be checked against. */
  version: string
}

/** The part of an object's bytes that a response carries. */
export interface ByteRange {
  offset: number
  length: number
}

/** What the routes need of an object store. Absent objects are null. */
export interface Storage {
  facts(key: string): Promise<StoredFacts | null>
  /** The bytes as a stream, never in memory at once; `range` must lie within an object that is there. */
  stream(key: string, range: ByteRange): Promise<ReadableStream<Uint8Array>>
  /** A small object as text. */
  text(key: string): Promise<{ text: string; version: string } | null>
  /** Every key that begins so, in order. */
  keys(prefix: string): Promise<string[]>
}

/** Objects in a Cloudflare R2 bucket. */
export function r2Storage(bucket: R2Bucket): Storage {
  return {
    async facts(key) {
      const object = await bucket.head(key)
      if (object === null) return null
      return {
        bytes: object.size,
        mediaType: object.httpMetadata?.contentType ?? 'application/octet-stream',
        uploaded: object.uploaded,
        version: object.etag,
      }
    },
    async stream(key, range) {
      const object = await bucket.get(key, { range })
      if (object === null) throw new Error(`${key} was deleted while it was being asked for.`)
      // The Workers runtime's ReadableStream is the web's; its types declare it a second time.
      return object.body as unknown as ReadableStream<Uint8Array>
    },
    async text(key) {
      const object = await bucket.get(key)
      return object === null ? null : { text: await object.text(), version: object.etag }
    },
    async keys(prefix) {
      const keys: string[] = []
      let cursor: string | undefined
      do {
        const page = await bucket.list(cursor === undefined ? { prefix } : { prefix, cursor })
        keys.push(...page.objects.map(({ key }) => key))
        cursor = page.truncated ? page.cursor : undefined
      } while (cursor !== undefined)
      return keys
    },
  }
}
