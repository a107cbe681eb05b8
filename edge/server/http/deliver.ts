import type { Context } from 'hono'
import { type Coding, keys } from '../registry/keys.ts'
import type { ByteRange, ObjectInfo, Storage } from '../storage/storage.ts'
import { evaluate } from './conditions.ts'
import type { Env } from './host.ts'
import { chooseCoding, isCompressible } from './negotiation.ts'
import { Problem } from './problem.ts'

/** Cache-Control of content under its hash, which never changes. One year is the customary maximum. */
export const immutableCacheControl = 'public, max-age=31536000, immutable'

/**
 * Responds to GET and HEAD of a file as RFC 9110 requires. Evaluates content coding, preconditions and range, in this
 * order.
 * @param extra headers for the 200, 206 and 304 responses
 * @throws Problem 404, 412 or 416
 */
export async function deliver(
  c: Context<Env>,
  sha256: string,
  extra: Record<string, string> = {},
): Promise<Response> {
  const { storage } = c.var.host
  const request = c.req.raw
  const selected = await select(storage, sha256, request)
  if (selected === null) throw new Problem(404, `No file with the SHA-256 ${sha256} is published here.`)

  const { key, coding, info, body } = selected
  const etag = coding === null ? `"${sha256}"` : `"${sha256}-${coding}"`
  const stored = { etag, lastModified: info.modified, bytes: info.bytes }
  const outcome = evaluate(request.method, request.headers, stored)
  const vary: Record<string, string> = isCompressible(info.mediaType) ? { Vary: 'Accept-Encoding' } : {}
  if (outcome.status === 412) {
    throw new Problem(412, `Precondition failed: the file's entity tag is ${etag}.`, { ETag: etag, ...vary })
  }
  if (outcome.status === 416) {
    const requested = c.req.header('Range')
    throw new Problem(416, `Invalid range "${requested}": the file has ${info.bytes} bytes.`, {
      'Content-Range': `bytes */${info.bytes}`,
      ...vary,
    })
  }

  const headers = new Headers({
    ETag: etag,
    'Last-Modified': info.modified.toUTCString(),
    'Cache-Control': immutableCacheControl,
    'Accept-Ranges': 'bytes',
    'Cache-Tag': sha256,
    ...vary,
    ...extra,
  })
  if (outcome.status === 304) return new Response(null, { status: 304, headers })

  const { offset, length } = outcome.range ?? { offset: 0, length: info.bytes }
  headers.set('Content-Type', info.mediaType)
  headers.set('Content-Length', String(length))
  if (coding !== null) headers.set('Content-Encoding', coding)
  // Range positions and the entity tag refer to the stored bytes, so proxies must not compress them.
  else if (outcome.status === 206 || isCompressible(info.mediaType))
    headers.append('Cache-Control', 'no-transform')
  if (outcome.status === 206) {
    headers.set('Content-Range', `bytes ${offset}-${offset + length - 1}/${info.bytes}`)
  }
  const content = request.method === 'HEAD' ? null : (body ?? (await open(storage, key, outcome.range)))
  return new Response(content, {
    status: outcome.status,
    headers,
    // Stops Workers from compressing a compressed body again. Other hosts ignore this option.
    encodeBody: 'manual',
  } as ResponseInit)
}

/** A stored representation of a file. */
interface Selected {
  readonly key: string
  readonly coding: Coding | null
  readonly info: ObjectInfo
  /** The content, if it was opened already. */
  readonly body: ReadableStream<Uint8Array> | null
}

/** Selects the representation to respond with. A range always refers to the uncompressed file. */
async function select(storage: Storage, sha256: string, request: Request): Promise<Selected | null> {
  const { method, headers } = request
  const conditions = ['If-Match', 'If-None-Match', 'If-Modified-Since', 'If-Unmodified-Since', 'Range']
  // The common case costs one storage operation instead of two.
  const whole = method === 'GET' && conditions.every((name) => !headers.has(name))
  const find = async (key: string, coding: Coding | null): Promise<Selected | null> => {
    const object = whole ? await storage.read(key) : { info: await storage.head(key), body: null }
    return object === null || object.info === null
      ? null
      : { key, coding, info: object.info, body: object.body }
  }
  const identity = await find(keys.file(sha256), null)
  if (identity === null || !isCompressible(identity.info.mediaType)) return identity
  const ranged = method === 'GET' && headers.has('Range')
  const coding = ranged ? null : chooseCoding(acceptEncoding(request))
  const variant = coding === null ? null : await find(keys.variant(sha256, coding), coding)
  if (variant === null) return identity
  await identity.body?.cancel()
  return variant
}

/** Returns the client's Accept-Encoding. Cloudflare rewrites the header and passes the original in `request.cf`. */
function acceptEncoding(request: Request & { cf?: { clientAcceptEncoding?: string } }): string | undefined {
  return request.cf?.clientAcceptEncoding ?? request.headers.get('Accept-Encoding') ?? undefined
}

async function open(
  storage: Storage,
  key: string,
  range: ByteRange | undefined,
): Promise<ReadableStream<Uint8Array>> {
  const object = await storage.read(key, range)
  if (object !== null) return object.body
  throw new Problem(503, 'The file was removed during this request. Try again.', { 'Retry-After': '1' })
}
