import assert from 'node:assert/strict'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { Case, Subject } from './cases/case.ts'

/** A response as received. */
export interface Reply {
  readonly status: number
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Buffer
}

/** Asserts that a response matches its case. */
export function check(expected: Case, subject: Subject, content: Buffer, reply: Reply): void {
  const { status, headers, body } = reply
  assert.equal(status, expected.status, `status; ${status >= 400 ? body : ''}`)
  for (const [name, value] of Object.entries(expected.answer(subject))) {
    const actual = headers[name]
    if (value instanceof RegExp) assert.match(actual ?? '', value, name)
    else assert.equal(actual ?? null, value, name)
  }
  // Required of every response.
  assert.equal(headers['x-content-type-options'], 'nosniff')
  assert.match(headers['x-request-id'] ?? '', /^[0-9a-f-]{36}$/)
  const [first, last] =
    /^bytes (\d+)-(\d+)\//
      .exec(headers['content-range'] ?? '')
      ?.slice(1)
      .map(Number) ?? []
  assert.equal(status === 206, first !== undefined, 'Content-Range positions are sent with 206 only')
  if (first !== undefined) assert.equal(body.length, last! - first + 1)
  if (expected.method === 'HEAD' || status === 304) assert.equal(body.length, 0)
  if (expected.detail)
    assert.match((JSON.parse(body.toString()) as { detail: string }).detail, expected.detail)

  if (expected.body === undefined) return
  if (expected.body === 'none') assert.equal(body.length, 0)
  else if (expected.body === 'whole') assert.ok(body.equals(content), 'complete')
  else if (expected.body === 'br') assert.ok(brotliDecompressSync(body).equals(content), 'complete, in br')
  else if (expected.body === 'gzip') assert.ok(gunzipSync(body).equals(content), 'complete, in gzip')
  else assert.ok(body.equals(content.subarray(expected.body[0], expected.body[1] + 1)), 'the range')
}
