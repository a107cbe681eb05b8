import { storageKeys } from '@ddpm/shared'
import { Hono } from 'hono'
import type { Env } from '../bindings.ts'
import { evaluate } from '../conditions.ts'
import { problem } from '../problem.ts'
import { r2Storage } from '../storage.ts'

/** `GET /files/:sha256`: content that never changes, with ranges and preconditions. */
export const files = new Hono<Env>().get('/:sha256', async (c) => {
  const sha256 = c.req.param('sha256')
  if (!/^[0-9a-f]{64}$/.test(sha256)) {
    return problem(c, 404, `Found the file name "${sha256}"; expected a SHA-256 as 64 lower-case hex digits.`)
  }
  const key = storageKeys.file(sha256)
  const storage = r2Storage(c.env.MODELS)
  const facts = await storage.facts(key)
  if (facts === null) return problem(c, 404, `No file with the SHA-256 ${sha256} is published here.`)

  const etag = `"${sha256}"`
  const { bytes, mediaType, uploaded } = facts
  const answer = evaluate(c.req.method, c.req.raw.headers, { etag, lastModified: uploaded, bytes })
  if (answer.status === 412) return problem(c, 412, `The file's entity tag is ${etag}.`)
  if (answer.status === 416) {
    return problem(c, 416, `Found the range "${c.req.header('Range')}" of a file of ${bytes} bytes.`, {
      'Content-Range': `bytes */${bytes}`,
    })
  }

  const headers = new Headers({
    ETag: etag,
    'Last-Modified': uploaded.toUTCString(),
    'Cache-Control': 'public, max-age=31536000, immutable',
    'Accept-Ranges': 'bytes',
  })
  if (answer.status === 304) return new Response(null, { status: 304, headers })

  const { offset, length } = answer.range
  headers.set('Content-Type', mediaType)
  headers.set('Content-Length', String(length))
  if (answer.status === 206) {
    headers.set('Content-Range', `bytes ${offset}-${offset + length - 1}/${bytes}`)
    // Positions count the bytes as stored: a part must not be compressed on its way.
    headers.append('Cache-Control', 'no-transform')
  }
  const body = c.req.method === 'HEAD' ? null : await storage.stream(key, answer.range)
  return new Response(body, { status: answer.status, headers })
})
