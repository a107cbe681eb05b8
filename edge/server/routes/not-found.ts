import type { Context } from 'hono'
import { accepts } from 'hono/accepts'
import type { Env } from '../http/host.ts'
import { problemResponse } from '../http/problem.ts'

/** Address of the page for unknown addresses, among the assets. */
const pagePath = '/404/'

/** Responds that there is nothing at an address: with a page for browsers, and with JSON for other clients. */
export async function notFoundResponse(c: Context<Env>, detail: string): Promise<Response> {
  const problem = 'application/problem+json'
  const supports = [problem, 'application/json', 'text/html']
  if (accepts(c, { header: 'Accept', supports, default: problem }) === 'text/html') {
    const page = await c.var.host.assets(new Request(new URL(pagePath, c.req.url)))
    if (page.ok) {
      const headers = {
        'Content-Type': 'text/html; charset=utf-8',
        'Cache-Control': 'no-store',
        Vary: 'Accept',
      }
      return new Response(page.body, { status: 404, headers })
    }
  }
  return problemResponse(c, 404, detail, { Vary: 'Accept' })
}
