import { Hono } from 'hono'
import type { Env } from '../http/host.ts'
import { problem } from '../http/problem.ts'

/** Plain paths: no empty, hidden or encoded segments, which the asset server would normalise or redirect. */
const plainPath = /^\/(\w[\w.-]*\/)*(\w[\w.-]*)?$/

/** The page and its modules, as built. What is below /api and /files is none of them, and may allow other methods. */
export const assets = new Hono<Env>().on('GET', ['/', '/:path{(?!(?:api|files)/).+}'], async (c) => {
  const { pathname } = new URL(c.req.url)
  if (plainPath.test(pathname)) {
    const found = await c.var.host.assets(c.req.raw)
    // A copy, because the original's headers cannot be changed.
    if (found.status !== 404) return new Response(found.body, found)
  }
  return problem(c, 404, `Nothing is served at "${pathname}"; the page is at "/", models at "/api/models".`)
})
