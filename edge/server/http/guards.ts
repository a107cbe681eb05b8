import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { Cost, Env, Host } from './host.ts'
import { Problem } from './problem.ts'

/** Lets through who is within the host's limit of this cost. */
export function limited(cost: Cost): MiddlewareHandler<Env> {
  return async (c, next) => {
    await refuseBeyond(c.var.host, cost)
    return next()
  }
}

async function refuseBeyond(host: Host, cost: Cost): Promise<void> {
  if (await host.allow(cost)) return
  throw new Problem(429, 'Too many requests from your address; wait a minute.', { 'Retry-After': '60' })
}

/** Lets through who has the host's token. Where the host has none, the methods are as if they did not exist. */
export const publishers: MiddlewareHandler<Env> = async (c, next) => {
  const { publishToken } = c.var.host
  if (publishToken === null) {
    throw new Problem(
      405,
      `Found the method ${c.req.method}; publishing over HTTP is switched off here. It needs the secret PUBLISH_TOKEN.`,
      { Allow: 'GET, HEAD, OPTIONS' },
    )
  }
  const given = /^Bearer +(.+)$/i.exec(c.req.header('Authorization') ?? '')?.[1] ?? ''
  if (sameText(given, publishToken)) return next()
  // Guessing is not for nothing.
  await refuseBeyond(c.var.host, 'read')
  throw new Problem(401, 'Publishing needs the right token: "Authorization: Bearer TOKEN".', {
    'WWW-Authenticate': 'Bearer realm="publish"',
  })
}

/** Compares in a time that tells neither how much is alike nor how long the other is. */
function sameText(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text) => createHash('sha256').update(text).digest())
  return timingSafeEqual(a!, b!)
}
