import assert from 'node:assert/strict'
import { test } from 'node:test'
import { intercepted } from '../../test/support/faults.ts'
import { createApp } from './app.ts'
import type { Host, LogEntry } from './http/host.ts'
import { memoryStorage } from './storage/memory.ts'
import { StorageFull } from './storage/storage.ts'

const publishToken = 'a token of many letters'
const authorized = { Authorization: `Bearer ${publishToken}` }

function createTestApp(host: Partial<Host>) {
  const log: LogEntry[] = []
  const app = createApp(() => ({
    storage: memoryStorage(),
    assets: async () => new Response('none', { status: 404 }),
    publishToken: null,
    allow: async () => true,
    log: (entry) => log.push(entry),
    ...host,
  }))
  return { app, log }
}

test('a failing store: the response hides the error, the log contains it', async () => {
  const storage = intercepted(memoryStorage(), async () => {
    throw new Error('secret address')
  })
  const { app, log } = createTestApp({ storage })
  for (const path of ['/api/models', '/api/models/a/b', `/files/${'a'.repeat(64)}`, '/a/b/resolve/main/c']) {
    const response = await app.request(path)
    assert.equal(response.status, 500, path)
    assert.equal(response.headers.get('Content-Type'), 'application/problem+json')
    assert.equal(response.headers.get('Cache-Control'), 'no-store')
    assert.equal(response.headers.get('X-Content-Type-Options'), 'nosniff')
    assert.deepEqual(await response.json(), {
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
      detail: 'Internal server error. The server log contains the details.',
    })
    const entry = log.pop()!
    assert.equal(entry.level, 'error')
    assert.match(entry.error!, /secret address/)
    assert.equal(entry.request, response.headers.get('X-Request-Id'))
  }
  assert.equal((await app.request('/healthz')).status, 503)
})

test('a store that does not respond within the timeout is unhealthy', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { app } = createTestApp({ storage: intercepted(memoryStorage(), () => new Promise<never>(() => {})) })
  const response = app.request('/healthz')
  await new Promise((resolve) => setImmediate(resolve))
  t.mock.timers.tick(5000)
  assert.equal((await response).status, 503)
})

test('a file that is removed during the request: 503 with Retry-After', async () => {
  const store = memoryStorage()
  const sha256 = 'a'.repeat(64)
  await store.put(`files/${sha256}`, 'text', { mediaType: 'application/octet-stream' })
  const storage = intercepted(store, async (run, operation, key) => {
    const result = await run()
    if (operation === 'head') await store.remove([key])
    return result
  })
  const response = await createTestApp({ storage }).app.request(`/files/${sha256}`, {
    headers: { Range: 'bytes=0-1' },
  })
  assert.deepEqual([response.status, response.headers.get('Retry-After')], [503, '1'])
})

test('the log has one entry per request, with the route instead of the path, and no personal data', async () => {
  const { app, log } = createTestApp({})
  const headers = {
    'CF-Connecting-IP': '203.0.113.7',
    'X-Forwarded-For': '203.0.113.7',
    'User-Agent': 'browser of zoe',
    Cookie: 'name=zoe',
    Referer: 'https://zoe.example/',
    Authorization: 'Bearer zoe',
  }
  // "zoe" contains letters that are no hexadecimal digits, so it cannot occur in a request id.
  await app.request('/api/models/zoe@mail.example/x?q=zoe', { headers })
  await app.request(`/files/${'0'.repeat(64)}?zoe`, { headers })
  await app.request('/zoe/../%00', { headers })
  assert.equal(log.length, 3)
  assert.doesNotMatch(JSON.stringify(log), /zoe|203\.0|browser|mail/)
  assert.deepEqual(
    log.map(({ level, method, route, status }) => [level, method, route, status]),
    [
      ['info', 'GET', '/api/models/:owner/:name', 404],
      ['info', 'GET', '/files/:sha256', 404],
      ['info', 'GET', '/:path{(?!(?:api|files)/).+}', 404],
    ],
  )
})

test('a body that is too large, or has no Content-Length, is rejected before it is read', async () => {
  const { app } = createTestApp({ publishToken })
  const put = (headers: Record<string, string>) =>
    app.request(`/files/${'a'.repeat(64)}`, {
      method: 'PUT',
      headers: { ...authorized, ...headers },
    })
  assert.equal((await put({ 'Content-Length': String(64 * 2 ** 20 + 1) })).status, 413)
  assert.equal((await put({})).status, 411)
})

test('a full store is a 507', async () => {
  const storage = intercepted(memoryStorage(), async () => {
    throw new StorageFull('The disk of the store is full.')
  })
  const { app } = createTestApp({ storage, publishToken })
  const response = await app.request(`/files/${'a'.repeat(64)}/parts/0`, {
    method: 'PUT',
    headers: { ...authorized, 'Content-Length': '1' },
    body: 'x',
  })
  assert.equal(response.status, 507)
  assert.equal(((await response.json()) as { detail: string }).detail, 'The disk of the store is full.')
})

test('a body that is not JSON by its Content-Type is a 415', async () => {
  const { app } = createTestApp({ publishToken })
  for (const type of ['text/plain', 'application/xml']) {
    const headers = { ...authorized, 'Content-Type': type }
    const response = await app.request('/api/collection', { method: 'POST', headers, body: '{}' })
    assert.equal(response.status, 415)
    assert.match(await response.text(), /expected application\/json/)
  }
})

test('a token that is short enough to guess disables publishing', async () => {
  const { app } = createTestApp({ publishToken: 'fifteen letters' })
  const headers = { Authorization: 'Bearer fifteen letters' }
  const response = await app.request('/api/models/a/b', { method: 'DELETE', headers })
  assert.equal(response.status, 405)
  assert.match(await response.text(), /too short: expected at least 16 characters/)
})

test('above the rate limit the host rejects requests of this cost only', async () => {
  const { app } = createTestApp({
    allow: async (cost) => cost !== 'list',
    assets: async () => new Response('page'),
  })
  assert.equal((await app.request('/api/models')).status, 429)
  assert.equal((await app.request('/healthz')).status, 200)
  assert.equal((await app.request('/api/models/a/b')).status, 404)
  assert.equal((await app.request('/')).status, 200)
})

test('the OpenAPI description contains every route of the API, with the schemas that validate it', async () => {
  const { app } = createTestApp({})
  const openapi = (await (await app.request('/api/openapi.json')).json()) as {
    openapi: string
    paths: Record<string, Record<string, { responses: object; security?: object }>>
  }
  assert.equal(openapi.openapi, '3.1.0')
  const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  )
  assert.deepEqual(operations.sort(), [
    'delete /models/{owner}/{name}',
    'delete /models/{owner}/{name}/versions/{version}',
    'get /models',
    'get /models/{owner}/{name}',
    'get /models/{owner}/{name}/versions',
    'get /models/{owner}/{name}/versions/{version}',
    'post /collection',
    'post /models/{owner}/{name}/versions',
    'post /verification',
    'put /models/{owner}/{name}/aliases/{alias}',
    'put /models/{owner}/{name}/versions/{version}',
  ])
  for (const [path, methods] of Object.entries(openapi.paths)) {
    for (const [method, { security }] of Object.entries(methods)) {
      assert.equal(security !== undefined, method !== 'get', `${method} ${path} requires the token`)
    }
  }
  const { headers } = await app.request('/api/openapi.json', { method: 'HEAD' })
  const validator = headers.get('ETag')!
  assert.match(validator, /^W\/"[0-9a-f]{64}"$/)
  const again = await app.request('/api/openapi.json', { headers: { 'If-None-Match': validator } })
  assert.deepEqual([again.status, await again.text()], [304, ''])

  const limit = JSON.stringify(openapi.paths['/models']!['get'])
  assert.match(limit, /"maximum":100/)
  assert.equal((await app.request('/api/models?limit=101')).status, 400)
  assert.equal((await app.request('/api/models?limit=100')).status, 200)
})
