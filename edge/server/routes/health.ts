import { Hono } from 'hono'
import { rateLimited } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { problemResponse } from '../http/problem.ts'
import { keys } from '../registry/keys.ts'

/** Timeout for the store in milliseconds. */
const timeout = 5000

/** `GET /healthz`: reports whether the store responds, and its latency. */
export const health = new Hono<Env>().get('/healthz', rateLimited('read'), async (c) => {
  const start = performance.now()
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    await Promise.race([
      c.var.host.storage.head(keys.index),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no response within ${timeout} ms`)), timeout)
      }),
    ])
  } catch {
    return problemResponse(c, 503, 'The store does not respond.', { 'Retry-After': '30' })
  } finally {
    clearTimeout(timer)
  }
  const milliseconds = Math.round(performance.now() - start)
  return c.json({ status: 'ok', store: { milliseconds } }, 200, { 'Cache-Control': 'no-store' })
})
