import assert from 'node:assert/strict'
import { test } from 'node:test'
import app from './worker.ts'

test('a store that fails gives a problem that keeps its inside to the log', async (t) => {
  const log = t.mock.method(console, 'error', () => {})
  const MODELS = {
    list: () => Promise.reject(new Error('secret address')),
  }
  const answer = await app.request('/api/models', {}, { MODELS })
  assert.equal(answer.status, 500)
  assert.equal(answer.headers.get('Content-Type'), 'application/problem+json')
  assert.equal(answer.headers.get('Cache-Control'), 'no-store')
  assert.equal(answer.headers.get('X-Content-Type-Options'), 'nosniff')
  assert.deepEqual(await answer.json(), {
    type: 'about:blank',
    title: 'Internal Server Error',
    status: 500,
    detail: 'The server failed to answer; its log says why.',
  })
  assert.match(String(log.mock.calls[0]?.arguments[0]), /secret address/)
})

test('the list of keys goes on over the pages of the store', async () => {
  const pages = [
    { objects: [{ key: 'models/a/one.json' }], truncated: true, cursor: 'next' },
    { objects: [{ key: 'models/a/two.json' }], truncated: false },
  ]
  const list = ({ cursor }: { cursor?: string }) => Promise.resolve(pages[cursor === 'next' ? 1 : 0])
  const MODELS = { list, get: () => Promise.resolve(null) }
  const answer = await app.request('/api/models/a/three', {}, { MODELS })
  assert.match(((await answer.json()) as { detail: string }).detail, /a\/one, a\/two/)
})
