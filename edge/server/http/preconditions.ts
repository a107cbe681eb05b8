import type { Context } from 'hono'
import { evaluatePreconditions, type Validators } from './conditions.ts'
import type { Env } from './host.ts'
import { Problem } from './problem.ts'

/**
 * Checks the preconditions of a request (RFC 9110 section 13.1).
 * @param current the representation that the address has now; null if there is none
 * @returns whether the response is a 304, which is possible for GET and HEAD only
 * @throws Problem 412 if a precondition is not met
 */
export function requirePreconditions(c: Context<Env>, current: Validators | null): boolean {
  const status = evaluatePreconditions(c.req.method, c.req.raw.headers, current)
  if (status !== 412) return status === 304
  throw current === null
    ? new Problem(412, 'Precondition failed: nothing is published at this address.')
    : new Problem(412, `Precondition failed: the current entity tag is ${current.etag}.`, {
        ETag: current.etag,
      })
}

/**
 * Returns a function that checks the preconditions against a version, whose entity tag is its hash. The registry calls it
 * within the atomic update, so that no other publisher can change the version in between.
 */
export function versionPreconditions(c: Context<Env>): (version: string | null) => void {
  return (version) => {
    requirePreconditions(c, version === null ? null : { etag: `"${version}"`, lastModified: null })
  }
}

/** Returns whether the request has preconditions. Without them, the current state need not be read. */
export const hasPreconditions = ({ req: { raw } }: Context<Env>): boolean =>
  ['If-Match', 'If-None-Match', 'If-Unmodified-Since'].some((name) => raw.headers.has(name))
