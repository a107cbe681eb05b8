// Requirements that every object store must meet, tested for each implementation.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { type OpenBucket, openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import { ContentMismatch, listAll, readText, type Storage } from '../../edge/server/storage/storage.ts'

interface Implementation {
  readonly name: string
  /** Opens an empty store. */
  open(): Promise<Storage>
  /** Size of the largest object written, in bytes: above the size from which the implementation writes in parts. */
  readonly maxBytes: number
}

const implementations: readonly Implementation[] = [
  { name: 'memory', open: async () => memoryStorage(), maxBytes: 1_000_000 },
  { name: 'folder', open: async () => folderStorage(await temporaryFolder()), maxBytes: 5_000_000 },
  // Three parts of 8 MiB, the last one not full.
  { name: 'R2 in workerd', open: emptyBucket, maxBytes: 20_000_001 },
]

const folders: string[] = []
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))))

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-storage-'))
  folders.push(folder)
  return folder
}

let bucket: OpenBucket | undefined
after(() => bucket?.close())

async function emptyBucket(): Promise<Storage> {
  bucket ??= await openLocalBucket(await temporaryFolder())
  const { storage } = bucket
  await storage.remove((await Array.fromAsync(listAll(storage, ''))).map(({ key }) => key))
  return storage
}

const octets = { mediaType: 'application/octet-stream' }
const text = { mediaType: 'text/plain' }

for (const { name, open, maxBytes } of implementations) {
  describe(`storage: ${name}`, () => {
    test('an object is read as written, with its metadata', async () => {
      const storage = await open()
      const before = Date.now()
      const written = await storage.put('files/one', 'körper', { mediaType: 'text/plain' })
      const info = (await storage.head('files/one'))!
      assert.deepEqual(written, info)
      assert.deepEqual([info.key, info.bytes, info.mediaType], ['files/one', 7, 'text/plain'])
      assert.ok(Math.abs(info.modified.getTime() - before) < 60_000)
      assert.deepEqual(await readText(storage, 'files/one'), { text: 'körper', version: info.version })
      assert.deepEqual((await storage.read('files/one'))!.info, info)
    })

    test('an object may be empty', async () => {
      const storage = await open()
      await storage.put('empty', new Uint8Array(), octets)
      assert.equal((await storage.head('empty'))!.bytes, 0)
      assert.equal((await readText(storage, 'empty'))!.text, '')
    })

    test('head and read return null for a missing object', async () => {
      const storage = await open()
      await storage.put('files/one', 'x', text)
      for (const key of ['files/two', 'files', 'files/one/more', 'file']) {
        assert.equal(await storage.head(key), null, key)
        assert.equal(await storage.read(key), null, key)
      }
    })

    test('a range reads the same bytes as slicing', async () => {
      const storage = await open()
      const content = randomBytes(100_000)
      await storage.put('files/bytes', content, octets)
      for (const [offset, length] of [
        [0, 1],
        [99_999, 1],
        [1234, 65_537],
        [0, 100_000],
      ] as const) {
        const { body, info } = (await storage.read('files/bytes', { offset, length }))!
        assert.equal(info.bytes, 100_000)
        assert.ok(
          content.subarray(offset, offset + length).equals(await bytesOf(body)),
          `${offset}+${length}`,
        )
      }
    })

    test('a stream is written completely', async () => {
      const storage = await open()
      const content = randomBytes(maxBytes)
      const sha256 = createHash('sha256').update(content).digest('hex')
      await storage.put('files/large', streamOf(content), { ...octets, bytes: maxBytes, sha256 })
      assert.ok(content.equals(await bytesOf((await storage.read('files/large'))!.body)))
    })

    test('content with another hash or length is rejected, and the old object remains', async () => {
      const storage = await open()
      await storage.put('files/one', 'old', text)
      const sha256 = createHash('sha256').update('right').digest('hex')
      const large = randomBytes(100_000)
      const rejected: [Parameters<Storage['put']>[1], object][] = [
        ['wrong', { sha256 }],
        [new TextEncoder().encode('wrong'), { sha256 }],
        [streamOf(large), { sha256, bytes: 100_000 }],
        [streamOf(large), { bytes: 99_999 }],
        [streamOf(large), { bytes: 100_001 }],
      ]
      for (const [content, expected] of rejected) {
        await assert.rejects(storage.put('files/one', content, { ...text, ...expected }), ContentMismatch)
        await assert.rejects(storage.put('files/two', content, { ...text, ...expected }))
      }
      assert.equal((await readText(storage, 'files/one'))!.text, 'old')
      assert.deepEqual(
        (await storage.list('')).objects.map(({ key }) => key),
        ['files/one'],
      )
      assert.ok(await storage.put('files/two', 'right', { ...text, sha256 }))
    })

    test('a stream that fails leaves the old object', async () => {
      const storage = await open()
      await storage.put('files/one', 'old', text)
      for (const bytes of [100_000, maxBytes]) {
        const broken = new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(new Uint8Array(50_000))
            controller.error(new Error('connection lost'))
          },
        })
        await assert.rejects(storage.put('files/one', broken, { ...octets, bytes }))
      }
      assert.equal((await readText(storage, 'files/one'))!.text, 'old')
    })

    test('onlyIf absent: writes only if there is no object', async () => {
      const storage = await open()
      assert.ok(await storage.put('once', 'first', { ...text, onlyIf: 'absent' }))
      assert.equal(await storage.put('once', 'second', { ...text, onlyIf: 'absent' }), null)
      assert.equal((await readText(storage, 'once'))!.text, 'first')
    })

    test('onlyIf version: writes only over the version that was read', async () => {
      const storage = await open()
      const first = (await storage.put('record', 'a', text))!
      const second = (await storage.put('record', 'b', { ...text, onlyIf: { version: first.version } }))!
      assert.notEqual(first.version, second.version)
      assert.equal(await storage.put('record', 'c', { ...text, onlyIf: { version: first.version } }), null)
      assert.equal(await storage.put('absent', 'c', { ...text, onlyIf: { version: first.version } }), null)
      assert.equal((await readText(storage, 'record'))!.text, 'b')
      assert.equal(await storage.head('absent'), null)
    })

    test('of concurrent writes over the same version, exactly one succeeds', async () => {
      const storage = await open()
      const { version } = (await storage.put('record', 'start', text))!
      const writers = Array.from({ length: 8 }, (_, i) => `writer ${i}`)
      const outcomes = await Promise.all(
        writers.map((name) => storage.put('record', name, { ...text, onlyIf: { version } })),
      )
      assert.equal(outcomes.filter((outcome) => outcome !== null).length, 1)
      const winner = writers[outcomes.findIndex((outcome) => outcome !== null)]
      assert.equal((await readText(storage, 'record'))!.text, winner)
      const creators = await Promise.all(
        writers.map((name) => storage.put('fresh', name, { ...text, onlyIf: 'absent' })),
      )
      assert.equal(creators.filter((outcome) => outcome !== null).length, 1)
    })

    test('list returns keys in order, by prefix, in pages', async () => {
      const storage = await open()
      const keys = ['a/1', 'a/10', 'a/2', 'a/b/c', 'a-b/x', 'b/1', 'a.b/1']
      for (const key of keys) await storage.put(key, key, { mediaType: `text/${key.length}` })
      assert.deepEqual(
        (await storage.list('')).objects.map(({ key }) => key),
        [...keys].sort(),
      )
      const first = await storage.list('a/', { limit: 2 })
      assert.deepEqual([first.objects.map(({ key }) => key), first.more], [['a/1', 'a/10'], true])
      const rest = await storage.list('a/', { limit: 2, after: 'a/10' })
      assert.deepEqual([rest.objects.map(({ key }) => key), rest.more], [['a/2', 'a/b/c'], false])
      for (const info of first.objects) assert.deepEqual(info, await storage.head(info.key))
      const after = await storage.list('a/', { after: 'a/15' })
      assert.deepEqual(
        after.objects.map(({ key }) => key),
        ['a/2', 'a/b/c'],
      )
      assert.deepEqual(await storage.list('nothing/'), { objects: [], more: false })
      assert.deepEqual((await Array.fromAsync(listAll(storage, 'a/'))).length, 4)
    })

    test('remove deletes objects and may be repeated', async () => {
      const storage = await open()
      for (const key of ['a', 'b', 'c']) await storage.put(key, key, text)
      await storage.remove(['a', 'c', 'nothing'])
      await storage.remove(['a'])
      assert.deepEqual(
        (await storage.list('')).objects.map(({ key }) => key),
        ['b'],
      )
      assert.equal(await storage.read('a'), null)
      assert.ok(await storage.put('a', 'again', { ...text, onlyIf: 'absent' }))
    })

    test('a read during a replacement returns the old object or the new one, complete', async () => {
      const storage = await open()
      const versions = ['x', 'y'].map((letter) => letter.repeat(300_000))
      await storage.put('record', versions[0]!, text)
      const reads = Array.from({ length: 20 }, async (_, i) => {
        if (i % 4 === 0) await storage.put('record', versions[(i / 4) % 2]!, text)
        return (await readText(storage, 'record'))!.text
      })
      for (const result of await Promise.all(reads)) assert.ok(versions.includes(result))
    })
  })
}

function streamOf(content: Uint8Array): ReadableStream<Uint8Array> {
  let position = 0
  return new ReadableStream({
    pull(controller) {
      const next = Math.min(position + 65_536, content.length)
      if (next > position) controller.enqueue(content.slice(position, next))
      position = next
      if (position === content.length) controller.close()
    },
  })
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  return Buffer.from(await new Response(stream).arrayBuffer())
}
