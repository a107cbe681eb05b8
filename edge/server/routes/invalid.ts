import type { Hook } from '@hono/zod-openapi'
import * as z from 'zod'
import type { Env } from '../http/host.ts'
import { problemResponse } from '../http/problem.ts'

/** Rejects requests that do not match a route's schemas: 404 for the path, 422 for JSON, 400 for the rest. */
// biome-ignore lint/suspicious/noExplicitAny: the library's own type of a hook for every route.
export const rejectInvalid: Hook<any, Env, any, any> = (result, c) => {
  if (result.success) return
  const detail = z.prettifyError(result.error)
  if (result.target === 'param') return problemResponse(c, 404, `Invalid path "${c.req.path}". ${detail}`)
  return problemResponse(c, result.target === 'json' ? 422 : 400, `Invalid ${result.target}. ${detail}`)
}
