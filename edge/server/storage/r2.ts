import type {
  R2Bucket,
  R2Conditional,
  R2HTTPMetadata,
  R2Object,
  R2UploadedPart,
} from '@cloudflare/workers-types'
import { verifiedChunks } from './content.ts'
import { type Content, ContentMismatch, type ObjectInfo, type PutOptions, type Storage } from './storage.ts'

/**
 * Streams of at least this size are not collected in memory. A Worker passes them to R2, which accepts 5 GiB in one
 * write and verifies the hash. Outside Workers they are uploaded in parts of this size, with one part in memory at a
 * time.
 */
const partBytes = 8 * 2 ** 20

/** Exists in Workers only: a stream with a declared length, which R2 requires. */
declare const FixedLengthStream: (new (bytes: number) => TransformStream<Uint8Array, Uint8Array>) | undefined

/** Maximum number of objects that R2 removes in one call. */
const maxRemoved = 1000

/** Opens an object store in a Cloudflare R2 bucket. */
export function r2Storage(bucket: R2Bucket): Storage {
  return {
    async head(key) {
      const object = await bucket.head(key)
      return object === null ? null : toInfo(object)
    },
    async read(key, range) {
      const object = await bucket.get(key, range === undefined ? {} : { range })
      if (object === null) return null
      // The same ReadableStream class at run time; the Workers types declare it a second time.
      return { info: toInfo(object), body: object.body as unknown as ReadableStream<Uint8Array> }
    },
    async put(key, content, options) {
      const { bytes = 0 } = options
      if (typeof content === 'string' || content instanceof Uint8Array) {
        return await putWhole(bucket, key, content, options)
      }
      // R2 has no conditional multipart upload. Objects with conditional writes are small here.
      if (bytes < partBytes || options.onlyIf)
        return await putWhole(bucket, key, await collect(key, content, options.bytes), options)
      if (typeof FixedLengthStream === 'undefined') return await putInParts(bucket, key, content, options)
      return await putWhole(bucket, key, content.pipeThrough(new FixedLengthStream(bytes)), options)
    },
    async list(prefix, { after, limit = 1000 } = {}) {
      const start = after === undefined ? {} : { startAfter: after }
      // R2 omits the media type by default.
      const include = ['httpMetadata'] as const
      const { objects, truncated } = await bucket.list({ prefix, limit, include: [...include], ...start })
      return { objects: objects.map(toInfo), more: truncated }
    },
    async remove(keys) {
      for (let from = 0; from < keys.length; from += maxRemoved) {
        await bucket.delete(keys.slice(from, from + maxRemoved))
      }
    },
  }
}

function toInfo(object: R2Object): ObjectInfo {
  const { key, size, httpMetadata, uploaded, etag } = object
  const mediaType = httpMetadata?.contentType ?? 'application/octet-stream'
  return { key, bytes: size, mediaType, modified: uploaded, version: etag }
}

async function putWhole(
  bucket: R2Bucket,
  key: string,
  content: Content,
  { mediaType, bytes, sha256, onlyIf }: PutOptions,
): Promise<ObjectInfo | null> {
  const httpMetadata: R2HTTPMetadata = { contentType: mediaType }
  const condition = onlyIf && { onlyIf: toR2Condition(onlyIf) }
  const options = { httpMetadata, ...(sha256 && { sha256 }), ...condition }
  try {
    const object = await bucket.put(key, content as Parameters<R2Bucket['put']>[1], options)
    return object === null ? null : toInfo(object as R2Object)
  } catch (error) {
    if (/checksum/i.test(String(error))) {
      throw new ContentMismatch(`Invalid content for ${key}: expected the SHA-256 ${sha256}.`)
    }
    if (/FixedLengthStream/.test(String(error))) {
      throw new ContentMismatch(`Invalid content for ${key}: expected ${bytes} bytes.`)
    }
    // Too many writes of this object at the same time. R2 accepts one per second.
    if (onlyIf !== undefined && /\(10058\)/.test(String(error))) return null
    throw error
  }
}

function toR2Condition(onlyIf: NonNullable<PutOptions['onlyIf']>): R2Conditional {
  return onlyIf === 'absent' ? { etagDoesNotMatch: '*' } : { etagMatches: onlyIf.version }
}

async function collect(
  key: string,
  content: ReadableStream<Uint8Array>,
  bytes: number | undefined,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of verifiedChunks(key, content, bytes === undefined ? {} : { bytes }))
    chunks.push(chunk)
  return new Uint8Array(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer())
}

/** Uploads in parts. The object becomes visible when the upload is completed: after its hash was verified. */
async function putInParts(
  bucket: R2Bucket,
  key: string,
  content: Content,
  { mediaType, ...expected }: PutOptions,
): Promise<ObjectInfo> {
  const upload = await bucket.createMultipartUpload(key, { httpMetadata: { contentType: mediaType } })
  try {
    const parts: R2UploadedPart[] = []
    for await (const part of splitInto(partBytes, verifiedChunks(key, content, expected))) {
      parts.push(await upload.uploadPart(parts.length + 1, part))
    }
    return toInfo(await upload.complete(parts))
  } catch (error) {
    await upload.abort()
    throw error
  }
}

/** Yields the same bytes in chunks of one size; only the last may be smaller. */
async function* splitInto(size: number, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let part = new Uint8Array(size)
  let filled = 0
  for await (let chunk of source) {
    while (chunk.length > 0) {
      const taken = chunk.subarray(0, size - filled)
      part.set(taken, filled)
      filled += taken.length
      chunk = chunk.subarray(taken.length)
      if (filled === size) {
        yield part
        part = new Uint8Array(size)
        filled = 0
      }
    }
  }
  if (filled > 0) yield part.subarray(0, filled)
}
