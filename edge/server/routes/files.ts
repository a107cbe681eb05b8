import { Hono } from 'hono'
import { deliver } from '../http/deliver.ts'
import { limited, publishers } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { Problem } from '../http/problem.ts'
import { sha256Pattern } from '../registry/keys.ts'
import { putFile } from '../registry/publishing.ts'
import { assembleFile, listParts, maxFileBytes, maxRequestBytes, putPart } from '../registry/uploading.ts'

/**
 * `/files/:sha256`: content that never changes, with ranges and preconditions. Publishers put it there, once: in one
 * request (PUT), or in parts of one size (PUT `/parts/:index`, from 0 on) that a POST puts together.
 */
export const files = new Hono<Env>()
  .use('/:sha256/*', async (c, next) => {
    const sha256 = c.req.param('sha256')
    if (sha256Pattern.test(sha256)) return next()
    throw new Problem(404, `Found the file name "${sha256}"; expected a SHA-256 as 64 lower-case hex digits.`)
  })
  .get('/:sha256', limited('read'), (c) => deliver(c, c.req.param('sha256')))
  .put('/:sha256', publishers, async (c) => {
    const sha256 = c.req.param('sha256')
    const file = { sha256, bytes: lengthOf(c.req.raw), mediaType: typeOf(c.req.raw) }
    const written = await putFile(c.var.host.storage, file, () => bodyOf(c.req.raw))
    return stored(sha256, written)
  })
  .get('/:sha256/parts', publishers, async (c) => {
    const parts = await listParts(c.var.host.storage, c.req.param('sha256'))
    return c.json({ parts }, 200, { 'Cache-Control': 'no-store' })
  })
  .put('/:sha256/parts/:index', publishers, async (c) => {
    const { sha256, index } = c.req.param()
    if (!/^\d{1,4}$/.test(index)) throw new Problem(404, `Found the part "${index}"; expected 0 to 9999.`)
    await putPart(c.var.host.storage, sha256, Number(index), bodyOf(c.req.raw), lengthOf(c.req.raw))
    return c.body(null, 204)
  })
  .post('/:sha256', publishers, async (c) => {
    const sha256 = c.req.param('sha256')
    const bytes = Number(c.req.query('bytes'))
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > maxFileBytes) {
      throw new Problem(
        422,
        `Found ?bytes=${c.req.query('bytes')}; expected the file's size, up to ${maxFileBytes}.`,
      )
    }
    const written = await assembleFile(c.var.host.storage, { sha256, bytes, mediaType: typeOf(c.req.raw) })
    return stored(sha256, written)
  })

function stored(sha256: string, written: boolean): Response {
  const headers = { ETag: `"${sha256}"`, Location: `/files/${sha256}`, 'Cache-Control': 'no-store' }
  return new Response(null, { status: written ? 201 : 204, headers })
}

/** @throws Problem where the length is not said beforehand, or is too much for one request */
function lengthOf({ headers }: Request): number {
  const length = headers.get('Content-Length')
  if (length === null) throw new Problem(411, 'The request does not say its length; send Content-Length.')
  if (Number(length) > maxRequestBytes) {
    const found = `Found ${length} bytes in one request; expected at most ${maxRequestBytes}.`
    throw new Problem(413, `${found} Send the file in parts.`)
  }
  return Number(length)
}

/** What a model is made of. Not what a browser would show or run as a page of this origin. */
const uploadable = ['application/octet-stream', 'application/json', 'image/png', 'image/jpeg', 'image/webp']

/** @throws Problem where files of this type are not taken */
function typeOf({ headers }: Request): string {
  const type = headers.get('Content-Type') ?? 'application/octet-stream'
  if (uploadable.includes(type)) return type
  const expected = uploadable.join(', ')
  throw new Problem(415, `Found a file of the type "${type}"; expected one of: ${expected}.`, {
    Accept: expected,
  })
}

/** The body as a stream; an empty one where the request has none. */
function bodyOf({ body }: Request): ReadableStream<Uint8Array> {
  return body ?? new Blob([]).stream()
}
