import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { Cost, Env, Host } from './host.ts'
import { Problem } from './problem.ts'

/** Creates middleware that rejects clients above the host's rate limit for this cost. */
export function rateLimited(cost: Cost): MiddlewareHandler<Env> {
  return async (c, next) => {
    await enforceLimit(c.var.host, cost)
    return next()
  }
}

async function enforceLimit(host: Host, cost: Cost): Promise<void> {
  if (await host.allow(cost)) return
  throw new Problem(429, 'Too many requests from your address. Wait a minute and try again.', {
    'Retry-After': '60',
  })
}

/** Minimum length of a publish token. A random token of this length cannot be guessed within the rate limit. */
const minTokenLength = 16

/** Returns what is wrong with a publish token, or null for a valid one. */
export function checkToken(token: string): string | null {
  if (token.length >= minTokenLength) return null
  return `the publish token is too short: expected at least ${minTokenLength} characters`
}

/** Rejects requests without the host's token (401). If the host has no valid token, publishing is disabled (405). */
export const requireToken: MiddlewareHandler<Env> = async (c, next) => {
  const { publishToken } = c.var.host
  const disabled = publishToken === null ? 'it has no publish token' : checkToken(publishToken)
  if (publishToken === null || disabled !== null) {
    throw new Problem(
      405,
      `Method ${c.req.method} is not allowed: publishing over HTTP is disabled on this server, because ${disabled}. ` +
        'Set PUBLISH_TOKEN (Worker) or DDPM_PUBLISH_TOKEN (npm run serve) to enable it.',
      { Allow: 'GET, HEAD, OPTIONS' },
    )
  }
  // Counted before the comparison: above the limit, the right token is rejected like a wrong one.
  await enforceLimit(c.var.host, 'read')
  const token = /^Bearer +(.+)$/i.exec(c.req.header('Authorization') ?? '')?.[1] ?? ''
  if (equalInConstantTime(token, publishToken)) return next()
  throw new Problem(401, 'Missing or invalid token: expected the header "Authorization: Bearer TOKEN".', {
    'WWW-Authenticate': 'Bearer realm="publish"',
  })
}

/** Compares two strings without leaking their common prefix or length through the running time. */
function equalInConstantTime(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text) => createHash('sha256').update(text).digest())
  return timingSafeEqual(a!, b!)
}
