import type { Context } from 'hono'
import * as z from 'zod'

const titles = {
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  507: 'Insufficient Storage',
} as const

export type ProblemStatus = keyof typeof titles

/** Body of an error response (RFC 9457). */
export const problemSchema = z.object({
  type: z.literal('about:blank'),
  title: z.string(),
  status: z.int(),
  /** What is wrong, what was expected and what to do. */
  detail: z.string(),
})

/** Creates an error response: `application/problem+json`, never cached. */
export function problemResponse(
  c: Context,
  status: ProblemStatus,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  return c.body(JSON.stringify({ type: 'about:blank', title: titles[status], status, detail }), status, {
    ...headers,
    'Content-Type': 'application/problem+json',
    'Cache-Control': 'no-store',
  })
}

/** Error that the app turns into a problem response. */
export class Problem extends Error {
  readonly status: ProblemStatus
  readonly headers: Record<string, string>
  constructor(status: ProblemStatus, detail: string, headers: Record<string, string> = {}) {
    super(detail)
    this.status = status
    this.headers = headers
  }
}
