// Faults of the store: slow responses, streams that fail, missing files; and a client that resumes its download.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import type { RunningServer } from '../../edge/commands/hosting/workerd.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import { intercepted } from '../support/faults.ts'
import { request } from './hosts.ts'
import { fill, type Site } from './site.ts'

const store = memoryStorage()
let site: Site
let serving: RunningServer
/** Wraps the store with a fault. */
let fault: (storage: Storage) => Storage = (storage) => storage

before(async () => {
  site = await fill(store)
  const storage: Storage = {
    head: (...args) => fault(store).head(...args),
    read: (...args) => fault(store).read(...args),
    put: (...args) => fault(store).put(...args),
    list: (...args) => fault(store).list(...args),
    remove: (...args) => fault(store).remove(...args),
  }
  serving = await serveOnNode({ storage, publicFolder: '.', port: 0, limits: null, log: () => {} })
})
after(() => serving?.stop())

/** Wraps a store so that reading a file fails after the first `bytes` bytes. */
const failingAfter =
  (bytes: number) =>
  (storage: Storage): Storage => ({
    ...storage,
    async read(key, range) {
      const object = await storage.read(key, range)
      if (object === null || !key.startsWith('files/')) return object
      let left = bytes
      const cut = new TransformStream<Uint8Array, Uint8Array>({
        async transform(chunk, controller) {
          controller.enqueue(chunk.subarray(0, left))
          left -= chunk.length
          if (left >= 0) return
          // Gives the client time to receive the bytes that were sent before the error.
          await setTimeout(50)
          controller.error(new Error('connection to the store lost'))
        },
      })
      return { ...object, body: object.body.pipeThrough(cut) }
    },
  })

test('a slow store delays the response, but does not change it', async () => {
  fault = (storage) =>
    intercepted(storage, async (run) => {
      await setTimeout(150)
      return await run()
    })
  const { subject, content } = site.subjects.model
  const whole = await request(serving.url, subject.path)
  assert.ok(whole.body.equals(content))
  const unchanged = await request(serving.url, subject.path, { 'If-None-Match': subject.etag })
  assert.equal(unchanged.status, 304)
  assert.equal((await request(serving.url, '/api/models/ada/shapes')).status, 200)
})

test('a stream that fails closes the connection, so that the client does not use an incomplete file', async () => {
  fault = failingAfter(4000)
  const { subject } = site.subjects.model
  await assert.rejects(request(serving.url, subject.path), /aborted|ECONNRESET|socket hang up/)
  const response = await fetch(serving.url + subject.path)
  const received: Buffer[] = []
  await assert.rejects(async () => {
    for await (const chunk of response.body!) received.push(Buffer.from(chunk))
  }, /terminated/)
  const { content } = site.subjects.model
  const prefix = Buffer.concat(received)
  assert.ok(prefix.equals(content.subarray(0, prefix.length)), 'a prefix of the file')
})

test('a download that fails repeatedly is resumed and ends with the right content', async () => {
  const content = randomBytes(1_000_000)
  const sha256 = createHash('sha256').update(content).digest('hex')
  await store.put(keys.file(sha256), content, { mediaType: 'application/octet-stream' })
  fault = failingAfter(300_000)
  const parts: Uint8Array[] = []
  let received = 0
  let attempts = 0
  let etag = ''
  while (received < content.length) {
    assert.ok(++attempts < 10, 'every attempt makes progress')
    const headers: Record<string, string> =
      received === 0 ? {} : { Range: `bytes=${received}-`, 'If-Range': etag }
    const response = await fetch(`${serving.url}/files/${sha256}`, { headers })
    assert.equal(response.status, received === 0 ? 200 : 206)
    etag = response.headers.get('ETag')!
    try {
      for await (const chunk of response.body!) {
        parts.push(chunk)
        received += chunk.length
      }
    } catch {
      // Interrupted; the next attempt resumes.
    }
  }
  assert.ok(attempts > 2)
  assert.equal(createHash('sha256').update(Buffer.concat(parts)).digest('hex'), sha256)
})

test('a file that is missing from the store is a 404 without caching', async () => {
  const { sha256 } = site.manifest.files[0]!
  fault = (storage) => ({
    ...storage,
    head: async (key) => (key === keys.file(sha256) ? null : await storage.head(key)),
    read: async (key, range) => (key === keys.file(sha256) ? null : await storage.read(key, range)),
  })
  for (const path of [`/files/${sha256}`, '/ada/shapes/resolve/main/model.onnx']) {
    for (const headers of [{}, { Range: 'bytes=0-9' }] as Record<string, string>[]) {
      const { status, headers: received } = await request(serving.url, path, headers)
      assert.deepEqual([status, received['cache-control']], [404, 'no-store'], path)
    }
  }
  assert.equal((await request(serving.url, '/api/models/ada/shapes')).status, 200)
})

test('a manifest that is missing from the store is a 500, and the list still works', async () => {
  fault = (storage) => ({
    ...storage,
    read: async (key, range) => (key === keys.file(site.version) ? null : await storage.read(key, range)),
  })
  const { status, headers } = await request(serving.url, '/api/models/ada/shapes')
  assert.deepEqual([status, headers['cache-control']], [500, 'no-store'])
  assert.equal((await request(serving.url, '/api/models')).status, 200)
  assert.equal((await request(serving.url, site.subjects.model.subject.path)).status, 200)
})
