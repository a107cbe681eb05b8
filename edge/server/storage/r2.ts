import type {
  R2Bucket,
  R2Conditional,
  R2HTTPMetadata,
  R2Object,
  R2UploadedPart,
} from '@cloudflare/workers-types'
import { checked } from './content.ts'
import { type Content, Mismatch, type ObjectInfo, type Storage, type Writing } from './storage.ts'

/**
 * Streams from this size on are not gathered in memory. A Worker hands them through: R2 takes 5 GiB at once and
 * checks the hash itself. Elsewhere they go up in parts of this size, of which one is in memory at a time.
 */
const partBytes = 8 * 2 ** 20

/** Workers have it: a stream that says its length beforehand, as R2 wants to know it. */
declare const FixedLengthStream: (new (bytes: number) => TransformStream<Uint8Array, Uint8Array>) | undefined

/** R2 removes at most so many objects at once. */
const removeLimit = 1000

/** Objects in a Cloudflare R2 bucket, as a Worker sees it. */
export function r2Storage(bucket: R2Bucket): Storage {
  return {
    async facts(key) {
      const object = await bucket.head(key)
      return object === null ? null : factsOf(object)
    },
    async read(key, range) {
      const object = await bucket.get(key, range === undefined ? {} : { range })
      if (object === null) return null
      // The Workers runtime's ReadableStream is the web's; its types declare it a second time.
      return { facts: factsOf(object), body: object.body as unknown as ReadableStream<Uint8Array> }
    },
    async put(key, content, writing) {
      const { bytes = 0 } = writing
      if (typeof content === 'string' || content instanceof Uint8Array) {
        return await putAtOnce(bucket, key, content, writing)
      }
      // A conditional write cannot be made in parts; those here are of small objects.
      if (bytes < partBytes || writing.only)
        return await putAtOnce(bucket, key, await gather(key, content, writing.bytes), writing)
      if (typeof FixedLengthStream === 'undefined') return await putInParts(bucket, key, content, writing)
      return await putAtOnce(bucket, key, content.pipeThrough(new FixedLengthStream(bytes)), writing)
    },
    async list(prefix, { after, limit = 1000 } = {}) {
      const start = after === undefined ? {} : { startAfter: after }
      // Without it, R2 leaves the media type out.
      const include = ['httpMetadata'] as const
      const { objects, truncated } = await bucket.list({ prefix, limit, include: [...include], ...start })
      return { objects: objects.map(factsOf), more: truncated }
    },
    async remove(keys) {
      for (let from = 0; from < keys.length; from += removeLimit) {
        await bucket.delete(keys.slice(from, from + removeLimit))
      }
    },
  }
}

function factsOf(object: R2Object): ObjectInfo {
  const { key, size, httpMetadata, uploaded, etag } = object
  const mediaType = httpMetadata?.contentType ?? 'application/octet-stream'
  return { key, bytes: size, mediaType, modified: uploaded, version: etag }
}

async function putAtOnce(
  bucket: R2Bucket,
  key: string,
  content: Content,
  { mediaType, sha256, only }: Writing,
): Promise<ObjectInfo | null> {
  const httpMetadata: R2HTTPMetadata = { contentType: mediaType }
  const onlyIf: R2Conditional | undefined =
    only === undefined
      ? undefined
      : only === 'absent'
        ? { etagDoesNotMatch: '*' }
        : { etagMatches: only.version }
  const options = { httpMetadata, ...(sha256 && { sha256 }), ...(onlyIf && { onlyIf }) }
  try {
    const object = await bucket.put(key, content as Parameters<R2Bucket['put']>[1], options)
    return object === null ? null : factsOf(object as R2Object)
  } catch (error) {
    if (/checksum/i.test(String(error))) {
      throw new Mismatch(`The contents for ${key} do not have the SHA-256 ${sha256}.`)
    }
    if (/FixedLengthStream/.test(String(error))) {
      throw new Mismatch(`The contents for ${key} do not have the length that was promised.`)
    }
    throw error
  }
}

async function gather(
  key: string,
  content: ReadableStream<Uint8Array>,
  bytes: number | undefined,
): Promise<Uint8Array> {
  const gathered: Uint8Array[] = []
  for await (const chunk of checked(key, content, bytes === undefined ? {} : { bytes })) gathered.push(chunk)
  return new Uint8Array(await new Blob(gathered as Uint8Array<ArrayBuffer>[]).arrayBuffer())
}

/** Nothing is to be seen of an upload in parts before it is completed, which is after its hash was found right. */
async function putInParts(
  bucket: R2Bucket,
  key: string,
  content: Content,
  { mediaType, ...promised }: Writing,
): Promise<ObjectInfo> {
  const upload = await bucket.createMultipartUpload(key, { httpMetadata: { contentType: mediaType } })
  try {
    const parts: R2UploadedPart[] = []
    for await (const part of inPartsOf(partBytes, checked(key, content, promised))) {
      parts.push(await upload.uploadPart(parts.length + 1, part))
    }
    return factsOf(await upload.complete(parts))
  } catch (error) {
    await upload.abort()
    throw error
  }
}

/** The same bytes in chunks of one size, but for the last. */
async function* inPartsOf(size: number, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
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
