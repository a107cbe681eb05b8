import { mediaTypes } from '@ddpm/shared'
import { type Context, Hono } from 'hono'
import { deliver } from '../http/deliver.ts'
import { rateLimited, requireToken } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { hasPreconditions, requirePreconditions } from '../http/preconditions.ts'
import { Problem } from '../http/problem.ts'
import { keys, sha256Pattern } from '../registry/keys.ts'
import { putFile } from '../registry/publishing.ts'
import { assembleFile, listParts, maxFileBytes, maxRequestBytes, putPart } from '../registry/uploading.ts'

/**
 * `/files/:sha256`: immutable content, served with ranges and preconditions. A publisher uploads a file once: in one
 * request (PUT), or in parts of equal size (PUT `/parts/:index`, from 0 on) that a final POST assembles.
 */
export const files = new Hono<Env>()
  .use('/:sha256/*', async (c, next) => {
    const sha256 = c.req.param('sha256')
    if (sha256Pattern.test(sha256)) return next()
    throw new Problem(
      404,
      `Invalid file name "${sha256}": expected a SHA-256 as 64 lower-case hexadecimal digits.`,
    )
  })
  .get('/:sha256', rateLimited('read'), (c) => deliver(c, c.req.param('sha256')))
  .put('/:sha256', requireToken, async (c) => {
    const sha256 = c.req.param('sha256')
    const file = { sha256, bytes: contentLength(c.req.raw), mediaType: contentType(c.req.raw) }
    await checkPreconditions(c, keys.file(sha256), sha256)
    const { storage, purge } = c.var.host
    const written = await putFile(storage, file, () => bodyStream(c.req.raw), purge)
    return storedResponse(sha256, written)
  })
  .get('/:sha256/parts', requireToken, async (c) => {
    const parts = await listParts(c.var.host.storage, c.req.param('sha256'))
    return c.json({ parts }, 200, { 'Cache-Control': 'no-store' })
  })
  .put('/:sha256/parts/:index', requireToken, async (c) => {
    const { sha256, index } = c.req.param()
    if (!/^\d{1,4}$/.test(index)) {
      throw new Problem(404, `Invalid part index "${index}": expected a whole number from 0 to 9999.`)
    }
    await checkPreconditions(c, keys.part(sha256, Number(index)), `${sha256}-${index}`)
    await putPart(c.var.host.storage, sha256, Number(index), bodyStream(c.req.raw), contentLength(c.req.raw))
    return c.body(null, 204)
  })
  .post('/:sha256', requireToken, async (c) => {
    const sha256 = c.req.param('sha256')
    const bytes = Number(c.req.query('bytes'))
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > maxFileBytes) {
      throw new Problem(
        422,
        `Invalid ?bytes=${c.req.query('bytes') ?? ''}: expected the size of the file, from 1 to ${maxFileBytes}.`,
      )
    }
    await checkPreconditions(c, keys.file(sha256), sha256)
    const { storage, purge } = c.var.host
    const written = await assembleFile(storage, { sha256, bytes, mediaType: contentType(c.req.raw) }, purge)
    return storedResponse(sha256, written)
  })

/** @throws Problem 412 if a precondition of the request is not met */
async function checkPreconditions(c: Context<Env>, key: string, tag: string): Promise<void> {
  if (!hasPreconditions(c)) return
  const stored = await c.var.host.storage.head(key)
  requirePreconditions(c, stored && { etag: `"${tag}"`, lastModified: stored.modified })
}

function storedResponse(sha256: string, written: boolean): Response {
  const headers = { ETag: `"${sha256}"`, Location: `/files/${sha256}`, 'Cache-Control': 'no-store' }
  return new Response(null, { status: written ? 201 : 204, headers })
}

/** @throws Problem if Content-Length is missing or above the limit for one request */
function contentLength({ headers }: Request): number {
  const length = headers.get('Content-Length')
  if (length === null) throw new Problem(411, 'Missing Content-Length: send the length of the body.')
  if (Number(length) > maxRequestBytes) {
    throw new Problem(
      413,
      `Invalid request of ${length} bytes: expected at most ${maxRequestBytes}. Send the file in parts.`,
    )
  }
  return Number(length)
}

/** @throws Problem if files of this media type are not accepted */
function contentType({ headers }: Request): string {
  const type = headers.get('Content-Type') ?? 'application/octet-stream'
  if ((mediaTypes as readonly string[]).includes(type)) return type
  const accepted = mediaTypes.join(', ')
  throw new Problem(415, `Invalid Content-Type "${type}": expected one of ${accepted}.`, {
    Accept: accepted,
  })
}

/** Returns the body as a stream. It is empty if the request has no body. */
function bodyStream({ body }: Request): ReadableStream<Uint8Array> {
  return body ?? new Blob([]).stream()
}
