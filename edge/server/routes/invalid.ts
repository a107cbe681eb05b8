import type { Hook } from '@hono/zod-openapi'
import * as z from 'zod'
import type { Env } from '../http/host.ts'
import { problem } from '../http/problem.ts'

/** Refuses what a route's schemas do not take: a path that cannot be one as not found, the rest as malformed. */
// biome-ignore lint/suspicious/noExplicitAny: the library's own type of a hook for every route.
export const refuseInvalid: Hook<any, Env, any, any> = (result, c) => {
  if (result.success) return
  const detail = z.prettifyError(result.error)
  if (result.target === 'param') return problem(c, 404, `No such address: "${c.req.path}". ${detail}`)
  return problem(c, result.target === 'json' ? 422 : 400, `Found an invalid ${result.target}. ${detail}`)
}
