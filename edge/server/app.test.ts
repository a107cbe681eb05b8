import assert from 'node:assert/strict'
import { test } from 'node:test'
import { intercepted } from '../../test/support/faults.ts'
import { createApp } from './app.ts'
import type { Host, LogEntry } from './http/host.ts'
import { memoryStorage } from './storage/memory.ts'

function appOn(host: Partial<Host>) {
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

test('a store that fails gives a problem that keeps its inside to the log', async () => {
  const storage = intercepted(memoryStorage(), async () => {
    throw new Error('secret address')
  })
  const { app, log } = appOn({ storage })
  for (const path of ['/api/models', '/api/models/a/b', `/files/${'a'.repeat(64)}`, '/a/b/resolve/main/c']) {
    const answer = await app.request(path)
    assert.equal(answer.status, 500, path)
    assert.equal(answer.headers.get('Content-Type'), 'application/problem+json')
    assert.equal(answer.headers.get('Cache-Control'), 'no-store')
    assert.equal(answer.headers.get('X-Content-Type-Options'), 'nosniff')
    assert.deepEqual(await answer.json(), {
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
      detail: 'The server failed to answer; its log says why.',
    })
    const entry = log.pop()!
    assert.equal(entry.level, 'error')
    assert.match(entry.error!, /secret address/)
    assert.equal(entry.request, answer.headers.get('X-Request-Id'))
  }
  assert.equal((await app.request('/healthz')).status, 503)
})

test('a store that never answers is not healthy', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { app } = appOn({ storage: intercepted(memoryStorage(), () => new Promise<never>(() => {})) })
  const answer = app.request('/healthz')
  await new Promise((resolve) => setImmediate(resolve))
  t.mock.timers.tick(5000)
  assert.equal((await answer).status, 503)
})

test('a file that is removed while it is being asked for is asked for again', async () => {
  const store = memoryStorage()
  const sha256 = 'a'.repeat(64)
  await store.put(`files/${sha256}`, 'text', { mediaType: 'application/octet-stream' })
  const storage = intercepted(store, async (run, operation, key) => {
    const found = await run()
    if (operation === 'facts') await store.remove([key])
    return found
  })
  const answer = await appOn({ storage }).app.request(`/files/${sha256}`, { headers: { Range: 'bytes=0-1' } })
  assert.deepEqual([answer.status, answer.headers.get('Retry-After')], [503, '1'])
})

test('the log has one line a request, with the route and not the path, and nothing of who asked', async () => {
  const { app, log } = appOn({})
  const headers = {
    'CF-Connecting-IP': '203.0.113.7',
    'X-Forwarded-For': '203.0.113.7',
    'User-Agent': 'browser of zoe',
    Cookie: 'name=zoe',
    Referer: 'https://zoe.example/',
    Authorization: 'Bearer zoe',
  }
  // No hexadecimal digits, which request ids are made of.
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

test('what is too much for one request is refused before it is read, and what says no length, too', async () => {
  const { app } = appOn({ publishToken: 'secret' })
  const put = (headers: Record<string, string>) =>
    app.request(`/files/${'a'.repeat(64)}`, {
      method: 'PUT',
      headers: { Authorization: 'Bearer secret', ...headers },
    })
  assert.equal((await put({ 'Content-Length': String(64 * 2 ** 20 + 1) })).status, 413)
  assert.equal((await put({})).status, 411)
})

test('a host whose limit is reached refuses what costs and serves the rest', async () => {
  const { app } = appOn({
    allow: async (cost) => cost !== 'list',
    assets: async () => new Response('page'),
  })
  assert.equal((await app.request('/api/models')).status, 429)
  assert.equal((await app.request('/healthz')).status, 429)
  assert.equal((await app.request('/api/models/a/b')).status, 404)
  assert.equal((await app.request('/')).status, 200)
})

test('the description names every route of the API, with the schemas that check it', async () => {
  const { app } = appOn({})
  const found = (await (await app.request('/api/openapi.json')).json()) as {
    openapi: string
    paths: Record<string, Record<string, { responses: object; security?: object }>>
  }
  assert.equal(found.openapi, '3.1.0')
  const operations = Object.entries(found.paths).flatMap(([path, methods]) =>
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
    'put /models/{owner}/{name}/aliases/{alias}',
    'put /models/{owner}/{name}/versions/{version}',
  ])
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, { security }] of Object.entries(methods)) {
      assert.equal(security !== undefined, method !== 'get', `${method} ${path} and its token`)
    }
  }
  const limit = JSON.stringify(found.paths['/models']!['get'])
  assert.match(limit, /"maximum":100/)
  assert.equal((await app.request('/api/models?limit=101')).status, 400)
  assert.equal((await app.request('/api/models?limit=100')).status, 200)
})
