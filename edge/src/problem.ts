import type { Context } from 'hono'

const titles = {
  404: 'Not Found',
  405: 'Method Not Allowed',
  412: 'Precondition Failed',
  416: 'Range Not Satisfiable',
  500: 'Internal Server Error',
} as const

/** An error as `application/problem+json` (RFC 9457). `detail` says what was found and what to do. */
export function problem(
  c: Context,
  status: keyof typeof titles,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  return c.body(JSON.stringify({ type: 'about:blank', title: titles[status], status, detail }), status, {
    ...headers,
    'Content-Type': 'application/problem+json',
    'Cache-Control': 'no-store',
  })
}
