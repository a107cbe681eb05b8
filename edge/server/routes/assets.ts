import { Hono } from 'hono'
import type { Env } from '../http/host.ts'
import { notFoundResponse } from './not-found.ts'

/** Paths without empty, hidden or encoded segments: an asset server would normalise or redirect those. */
const plainPath = /^\/(\w[\w.-]*\/)*(\w[\w.-]*)?$/

/** Serves the built page and its modules. Excludes /api and /files, where other methods may be allowed. */
export const assets = new Hono<Env>().on('GET', ['/', '/:path{(?!(?:api|files)/).+}'], async (c) => {
  const { pathname } = new URL(c.req.url)
  if (plainPath.test(pathname)) {
    const response = await c.var.host.assets(c.req.raw)
    // Copied, because the headers of a fetched response are immutable.
    if (response.status !== 404) return new Response(response.body, response)
  }
  const detail = `Nothing is served at "${pathname}". The page is at "/", models are listed at "/api/models".`
  return notFoundResponse(c, detail)
})
