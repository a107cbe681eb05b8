// The response cache of the Node host: cached responses equal the app's, and are never outdated.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import type { RunningServer } from '../../edge/commands/hosting/workerd.ts'
import type { LogEntry } from '../../edge/server/http/host.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { moveAlias, unpublish } from '../../edge/server/registry/models.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'
import { createModel, publish } from '../support/registry.ts'
import type { Reply } from './check.ts'
import { request } from './hosts.ts'

let folder: string
let serving: RunningServer
const log: LogEntry[] = []
/** Opens the store again for every use, like another process. */
const elsewhere = () => folderStorage(folder)

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-cache-'))
  const storage = folderStorage(folder)
  const limits = { list: 1000, read: 30 }
  serving = await serveOnNode({
    storage,
    publicFolder: folder,
    port: 0,
    limits,
    log: (each) => log.push(each),
  })
})
after(async () => {
  await serving?.stop()
  await rm(folder, { recursive: true, force: true })
})

let clients = 0
/** Sends a request from an address of its own, so that tests do not share a rate limit. */
const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  request(serving.url, path, { 'X-Forwarded-For': `192.0.2.${++clients}`, ...headers }, method)

/** The parts of a reply that a cache must not change. */
function comparable({ status, headers, body }: Reply) {
  const { 'x-request-id': id, date, connection, 'transfer-encoding': transfer, ...rest } = headers
  // The length of a text is known to the cache, and not to the app.
  const length = transfer === undefined ? {} : { 'content-length': String(body.length) }
  return { status, headers: { ...rest, ...length }, body: body.toString('base64') }
}

test('a cached response equals the first one, except for its id; both are logged', async () => {
  const model = createModel('ada/shapes', 'first', [randomBytes(5000), randomBytes(1000)])
  await publish(elsewhere(), model)
  const file = `/files/${model.manifest.files[0]!.sha256}`
  const tag = { 'If-None-Match': `"${model.manifest.files[0]!.sha256}"` }
  for (const [path, headers, method] of [
    ['/api/models/ada/shapes', {}, 'GET'],
    ['/api/models/ada/shapes', { Origin: 'https://other.example' }, 'GET'],
    ['/api/models/ada/shapes', { 'If-None-Match': `W/"${model.version}"` }, 'GET'],
    ['/ada/shapes/resolve/main/model.onnx', {}, 'GET'],
    [file, {}, 'GET'],
    [file, {}, 'HEAD'],
    [file, tag, 'GET'],
    [file, { Range: 'bytes=10-99' }, 'GET'],
  ] as const) {
    log.length = 0
    const [first, second, third] = [
      await get(path, headers, method),
      await get(path, headers, method),
      await get(path, headers, method),
    ]
    assert.ok([200, 206, 304].includes(first.status), path)
    assert.deepEqual(comparable(second), comparable(first), path)
    assert.deepEqual(comparable(third), comparable(first), path)
    assert.equal(new Set([first, second, third].map(({ headers }) => headers['x-request-id'])).size, 3)
    assert.deepEqual(
      log.map(({ request }) => request),
      [first, second, third].map(({ headers }) => headers['x-request-id']),
    )
    assert.equal(new Set(log.map(({ method, route, status }) => `${method} ${route} ${status}`)).size, 1)
  }
})

test('changes by another process are visible in the next response', async () => {
  const [one, two] = [createModel('bob/figures', 'one'), createModel('bob/figures', 'two')]
  await publish(elsewhere(), one)
  const version = async () => (await get('/api/models/bob/figures')).headers['x-version']
  for (let round = 0; round < 20; round++) {
    await publish(elsewhere(), two)
    assert.deepEqual([await version(), await version()], [two.version, two.version])
    await moveAlias(elsewhere(), 'bob/figures', 'latest', one.version)
    assert.deepEqual([await version(), await version()], [one.version, one.version])
  }
  const file = `/files/${one.manifest.files[0]!.sha256}`
  assert.deepEqual([(await get(file)).status, (await get(file)).status], [200, 200])
  await unpublish(elsewhere(), 'bob/figures')
  assert.equal((await get('/api/models/bob/figures')).status, 404)
  await elsewhere().remove([keys.file(one.manifest.files[0]!.sha256)])
  assert.equal((await get(file)).status, 404)
})

test('cached responses count against the rate limit', async () => {
  await publish(elsewhere(), createModel('cleo/cats', ''))
  const client = { 'X-Forwarded-For': '203.0.113.9' }
  const statuses = []
  for (let i = 0; i < 32; i++) statuses.push((await get('/api/models/cleo/cats', client)).status)
  assert.equal(statuses.indexOf(429), 30)
})

test('a large file is sent completely; if it becomes shorter meanwhile, the connection is closed', async () => {
  const content = randomBytes(3_000_001)
  const sha256 = createHash('sha256').update(content).digest('hex')
  const octets = { mediaType: 'application/octet-stream' }
  await elsewhere().put(keys.file(sha256), content, octets)
  const [whole, part] = [
    await get(`/files/${sha256}`),
    await get(`/files/${sha256}`, { Range: 'bytes=500000-2900000' }),
  ]
  assert.ok(whole.body.equals(content))
  assert.ok(part.body.equals(content.subarray(500_000, 2_900_001)))

  const large = Buffer.alloc(50_000_000)
  const other = createHash('sha256').update(large).digest('hex')
  await elsewhere().put(keys.file(other), large, octets)
  const response = await fetch(`${serving.url}/files/${other}`)
  await writeFile(join(folder, 'files', other), 'short')
  await assert.rejects(response.arrayBuffer())
})

test('a client that closes the connection during a download leaves no open file', {
  timeout: 60_000,
  skip: process.platform !== 'linux' && 'open files are counted in /proc, which only Linux has',
}, async () => {
  const large = Buffer.alloc(50_000_000, 1)
  const sha256 = createHash('sha256').update(large).digest('hex')
  await elsewhere().put(keys.file(sha256), large, { mediaType: 'application/octet-stream' })
  for (let i = 0; i < 5; i++) {
    const abort = new AbortController()
    const response = await fetch(`${serving.url}/files/${sha256}`, { signal: abort.signal })
    await response.body!.getReader().read()
    abort.abort()
  }
  const isOpen = async () => {
    const targets = (await readdir('/proc/self/fd')).map((fd) =>
      readlink(`/proc/self/fd/${fd}`).catch(() => ''),
    )
    return (await Promise.all(targets)).some((target) => target.endsWith(sha256))
  }
  // Without a time limit of its own: the test runner's ends a test that waits forever.
  while (await isOpen()) await setTimeout(20)
})

test('first requests for many large files at once, more than are held in memory: every file is right', async () => {
  const contents = Array.from({ length: 12 }, () => randomBytes(8 * 2 ** 20))
  const hashes = contents.map((content) => createHash('sha256').update(content).digest('hex'))
  for (const [i, content] of contents.entries())
    await elsewhere().put(keys.file(hashes[i]!), content, { mediaType: 'application/octet-stream' })
  for (let round = 0; round < 2; round++) {
    const replies = await Promise.all(hashes.map((hash) => get(`/files/${hash}`)))
    for (const [i, { status, body }] of replies.entries()) {
      assert.equal(status, 200)
      assert.equal(createHash('sha256').update(body).digest('hex'), hashes[i])
    }
  }
})
