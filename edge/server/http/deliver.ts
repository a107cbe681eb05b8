import type { Context } from 'hono'
import { type Coding, keys } from '../registry/keys.ts'
import type { ByteRange, ObjectInfo, Storage } from '../storage/storage.ts'
import { evaluate } from './conditions.ts'
import type { Env } from './host.ts'
import { chooseCoding, isCompressible } from './negotiation.ts'
import { Problem } from './problem.ts'

/** What is stored under a hash stays so: whoever has it need not ask again for a year, which is the longest usual. */
export const immutable = 'public, max-age=31536000, immutable'

/** A stored form of a file, and the stream of it where it was opened already. */
interface Selected {
  readonly key: string
  readonly coding: Coding | null
  readonly facts: ObjectInfo
  readonly body: ReadableStream<Uint8Array> | null
}

/**
 * Answers GET and HEAD of a file by RFC 9110: content coding, preconditions and range, in this order.
 * @param extra headers of answers that carry the file or say that it is unchanged
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

  const { key, coding, facts, body } = selected
  const etag = coding === null ? `"${sha256}"` : `"${sha256}-${coding}"`
  const stored = { etag, lastModified: facts.modified, bytes: facts.bytes }
  const answer = evaluate(request.method, request.headers, stored)
  const vary: Record<string, string> = isCompressible(facts.mediaType) ? { Vary: 'Accept-Encoding' } : {}
  if (answer.status === 412) {
    throw new Problem(412, `The file's entity tag is ${etag}.`, { ETag: etag, ...vary })
  }
  if (answer.status === 416) {
    const found = c.req.header('Range')
    throw new Problem(416, `Found the range "${found}" of a file of ${facts.bytes} bytes.`, {
      'Content-Range': `bytes */${facts.bytes}`,
      ...vary,
    })
  }

  const headers = new Headers({
    ETag: etag,
    'Last-Modified': facts.modified.toUTCString(),
    'Cache-Control': immutable,
    'Accept-Ranges': 'bytes',
    ...vary,
    ...extra,
  })
  if (answer.status === 304) return new Response(null, { status: 304, headers })

  const { offset, length } = answer.range ?? { offset: 0, length: facts.bytes }
  headers.set('Content-Type', facts.mediaType)
  headers.set('Content-Length', String(length))
  if (coding !== null) headers.set('Content-Encoding', coding)
  // Positions count the bytes as stored, and the tag is of these bytes: nobody on the way is to compress them.
  else if (answer.status === 206 || isCompressible(facts.mediaType))
    headers.append('Cache-Control', 'no-transform')
  if (answer.status === 206) {
    headers.set('Content-Range', `bytes ${offset}-${offset + length - 1}/${facts.bytes}`)
  }
  const content = request.method === 'HEAD' ? null : (body ?? (await open(storage, key, answer.range)))
  return new Response(content, {
    status: answer.status,
    headers,
    // Workers would compress what is compressed a second time otherwise; elsewhere the word means nothing.
    encodeBody: 'manual',
  } as ResponseInit)
}

/** The form of a file to answer with. A range is always one of the file's own bytes. */
async function select(storage: Storage, sha256: string, request: Request): Promise<Selected | null> {
  const { method, headers } = request
  const conditions = ['If-Match', 'If-None-Match', 'If-Modified-Since', 'If-Unmodified-Since', 'Range']
  // The common case costs one operation of the store instead of two.
  const whole = method === 'GET' && conditions.every((name) => !headers.has(name))
  const find = async (key: string, coding: Coding | null): Promise<Selected | null> => {
    const found = whole ? await storage.read(key) : { facts: await storage.facts(key), body: null }
    return found === null || found.facts === null
      ? null
      : { key, coding, facts: found.facts, body: found.body }
  }
  const identity = await find(keys.file(sha256), null)
  if (identity === null || !isCompressible(identity.facts.mediaType)) return identity
  const ranged = method === 'GET' && headers.has('Range')
  const coding = ranged ? null : chooseCoding(acceptEncoding(request))
  const variant = coding === null ? null : await find(keys.variant(sha256, coding), coding)
  if (variant === null) return identity
  await identity.body?.cancel()
  return variant
}

/** What the client accepts. Cloudflare writes the header anew and keeps the client's own beside the request. */
function acceptEncoding(request: Request & { cf?: { clientAcceptEncoding?: string } }): string | undefined {
  return request.cf?.clientAcceptEncoding ?? request.headers.get('Accept-Encoding') ?? undefined
}

async function open(
  storage: Storage,
  key: string,
  range: ByteRange | undefined,
): Promise<ReadableStream<Uint8Array>> {
  const found = await storage.read(key, range)
  if (found !== null) return found.body
  throw new Problem(503, 'The file was removed at this moment; ask again.', { 'Retry-After': '1' })
}
