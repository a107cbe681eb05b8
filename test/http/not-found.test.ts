// Unknown addresses on both hosts: browsers receive a page, other clients a problem (RFC 9457).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onEveryHost, request } from './hosts.ts'
import { notFoundPage } from './site.ts'

/** What Chromium sends when it opens an address. */
const navigation = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'

onEveryHost('unknown addresses', (running) => {
  const get = (path: string, accept?: string, method = 'GET') =>
    request(running.host.url, path, accept === undefined ? {} : { Accept: accept }, method)

  for (const path of ['/some/where', '/nothing.js', '/..%2fsecret']) {
    test(`browsers receive the page at ${path}`, async () => {
      const { status, headers, body } = await get(path, navigation)
      assert.deepEqual([status, body.toString()], [404, notFoundPage])
      assert.equal(headers['content-type'], 'text/html; charset=utf-8')
      assert.equal(headers['cache-control'], 'no-store')
      assert.match(headers['vary']!, /\bAccept\b/)
      assert.match(headers['content-security-policy']!, /default-src 'none'; script-src 'self'/)
      assert.equal(headers['x-content-type-options'], 'nosniff')
      const head = await get(path, navigation, 'HEAD')
      assert.deepEqual([head.status, head.body.length], [404, 0])
      assert.equal(head.headers['content-type'], headers['content-type'])
    })
  }

  for (const accept of [undefined, '*/*', 'application/json', 'application/json, text/html;q=0.5']) {
    test(`a client that accepts ${accept ?? 'no particular type'} receives a problem`, async () => {
      const { status, headers, body } = await get('/some/where', accept)
      assert.equal(status, 404)
      assert.equal(headers['content-type'], 'application/problem+json')
      assert.match(headers['vary']!, /\bAccept\b/)
      assert.match(JSON.parse(body.toString()).detail, /Nothing is served at "\/some\/where"/)
    })
  }

  test('API and files respond with a problem, also to browsers', async () => {
    for (const path of ['/api/nothing', '/api/models/ada/none', `/files/${'0'.repeat(64)}`]) {
      const { status, headers } = await get(path, navigation)
      assert.deepEqual([status, headers['content-type']], [404, 'application/problem+json'], path)
    }
  })
})
