// A store that is late, that fails midway, that lost what a manifest names; and a client that does not give up.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import type { Serving } from '../../edge/commands/hosting/workerd.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import { intercepted } from '../support/faults.ts'
import { ask } from './hosts.ts'
import { fill, type Site } from './site.ts'

const store = memoryStorage()
let site: Site
let serving: Serving
/** What stands between app and store. */
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

/** A store whose streams break off after so many bytes of what was asked for. */
const breaking =
  (after: number) =>
  (storage: Storage): Storage => ({
    ...storage,
    async read(key, range) {
      const found = await storage.read(key, range)
      if (found === null || !key.startsWith('files/')) return found
      let left = after
      const cut = new TransformStream<Uint8Array, Uint8Array>({
        async transform(chunk, controller) {
          controller.enqueue(chunk.subarray(0, left))
          left -= chunk.length
          if (left >= 0) return
          // What was sent before is on its way by then.
          await setTimeout(50)
          controller.error(new Error('the store is gone'))
        },
      })
      return { ...found, body: found.body.pipeThrough(cut) }
    },
  })

test('a store that is late is waited for, and the answer is as always', async () => {
  fault = (storage) =>
    intercepted(storage, async (run) => {
      await setTimeout(150)
      return await run()
    })
  const { subject, content } = site.subjects.model
  const whole = await ask(serving.url, subject.path)
  assert.ok(whole.body.equals(content))
  const unchanged = await ask(serving.url, subject.path, { 'If-None-Match': subject.etag })
  assert.equal(unchanged.status, 304)
  assert.equal((await ask(serving.url, '/api/models/ada/shapes')).status, 200)
})

test('a stream that fails midway breaks the connection: nobody takes the part for the whole', async () => {
  fault = breaking(4000)
  const { subject } = site.subjects.model
  await assert.rejects(ask(serving.url, subject.path), /aborted|ECONNRESET|socket hang up/)
  const answer = await fetch(serving.url + subject.path)
  const received: Buffer[] = []
  await assert.rejects(async () => {
    for await (const chunk of answer.body!) received.push(Buffer.from(chunk))
  }, /terminated/)
  const { content } = site.subjects.model
  const before = Buffer.concat(received)
  assert.ok(before.equals(content.subarray(0, before.length)), 'what came is of the file')
})

test('a download that breaks off again and again is resumed, and is the right one in the end', async () => {
  const content = randomBytes(1_000_000)
  const sha256 = createHash('sha256').update(content).digest('hex')
  await store.put(keys.file(sha256), content, { mediaType: 'application/octet-stream' })
  fault = breaking(300_000)
  const parts: Uint8Array[] = []
  let received = 0
  let attempts = 0
  let etag = ''
  while (received < content.length) {
    assert.ok(++attempts < 10, 'it gets further every time')
    const headers: Record<string, string> =
      received === 0 ? {} : { Range: `bytes=${received}-`, 'If-Range': etag }
    const answer = await fetch(`${serving.url}/files/${sha256}`, { headers })
    assert.equal(answer.status, received === 0 ? 200 : 206)
    etag = answer.headers.get('ETag')!
    try {
      for await (const chunk of answer.body!) {
        parts.push(chunk)
        received += chunk.length
      }
    } catch {
      // Broke off; the next attempt goes on.
    }
  }
  assert.ok(attempts > 2)
  assert.equal(createHash('sha256').update(Buffer.concat(parts)).digest('hex'), sha256)
})

test('a file that the manifest names and the store lost is a 404 that nobody keeps', async () => {
  const { sha256 } = site.manifest.files[0]!
  fault = (storage) => ({
    ...storage,
    head: async (key) => (key === keys.file(sha256) ? null : await storage.head(key)),
    read: async (key, range) => (key === keys.file(sha256) ? null : await storage.read(key, range)),
  })
  for (const path of [`/files/${sha256}`, '/ada/shapes/resolve/main/model.onnx']) {
    for (const headers of [{}, { Range: 'bytes=0-9' }] as Record<string, string>[]) {
      const { status, headers: found } = await ask(serving.url, path, headers)
      assert.deepEqual([status, found['cache-control']], [404, 'no-store'], path)
    }
  }
  assert.equal((await ask(serving.url, '/api/models/ada/shapes')).status, 200)
})

test('a manifest that the record names and the store lost is an error, and the list goes on', async () => {
  fault = (storage) => ({
    ...storage,
    read: async (key, range) => (key === keys.file(site.version) ? null : await storage.read(key, range)),
  })
  const { status, headers } = await ask(serving.url, '/api/models/ada/shapes')
  assert.deepEqual([status, headers['cache-control']], [500, 'no-store'])
  assert.equal((await ask(serving.url, '/api/models')).status, 200)
  assert.equal((await ask(serving.url, site.subjects.model.subject.path)).status, 200)
})
