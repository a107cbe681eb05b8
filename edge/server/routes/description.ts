import { Hono } from 'hono'
import { listsTag } from '../http/conditions.ts'
import type { Env } from '../http/host.ts'
import { sha256OfText } from '../registry/publishing.ts'

/**
 * `GET /api/openapi.json`: the OpenAPI description.
 * @param build creates the description, which takes 13 to 30 ms. Called once, at the first request.
 */
export function description(build: () => object): Hono<Env> {
  let built: { readonly text: string; readonly opaque: string } | undefined
  return new Hono<Env>().get('/api/openapi.json', (c) => {
    if (built === undefined) {
      const text = JSON.stringify(build())
      built = { text, opaque: `"${sha256OfText(text)}"` }
    }
    // Weak, because a proxy may compress the text. It changes with the server's version only.
    const headers = { ETag: `W/${built.opaque}`, 'Cache-Control': 'private, no-cache' }
    const unchanged = listsTag(c.req.header('If-None-Match') ?? '', built.opaque, 'weak')
    if (unchanged) return c.body(null, 304, headers)
    return c.body(built.text, 200, { ...headers, 'Content-Type': 'application/json' })
  })
}
