import type { MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import type { Env } from './host.ts'

/** Assigns an id to the request and logs one entry after the response. */
export const logging: MiddlewareHandler<Env> = async (c, next) => {
  const start = performance.now()
  c.set('requestId', crypto.randomUUID())
  await next()
  c.res.headers.set('X-Request-Id', c.var.requestId)
  c.var.host.log({
    level: c.res.status >= 500 ? 'error' : 'info',
    request: c.var.requestId,
    method: c.req.method,
    route: routePath(c),
    status: c.res.status,
    milliseconds: Math.round(performance.now() - start),
    ...(c.error && c.res.status >= 500 && { error: c.error.stack ?? String(c.error) }),
  })
}
