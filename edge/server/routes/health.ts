import { Hono } from 'hono'
import { limited } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { problem } from '../http/problem.ts'
import { keys } from '../registry/keys.ts'

/** A store that takes longer is of no use to a visitor. */
const patience = 5000

/** `GET /healthz`: whether the store answers, and how long it takes. */
export const health = new Hono<Env>().get('/healthz', limited('list'), async (c) => {
  const began = performance.now()
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    await Promise.race([
      c.var.host.storage.list(keys.records, { limit: 1 }),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${patience} ms`)), patience)
      }),
    ])
  } catch {
    return problem(c, 503, 'The store does not answer.', { 'Retry-After': '30' })
  } finally {
    clearTimeout(timer)
  }
  const milliseconds = Math.round(performance.now() - began)
  return c.json({ status: 'ok', store: { milliseconds } }, 200, { 'Cache-Control': 'no-store' })
})
