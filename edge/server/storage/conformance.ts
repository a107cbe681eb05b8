// What every object store here must do, as one suite that each implementation runs.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { listAll, Mismatch, readText, type Storage } from './storage.ts'

const octets = { mediaType: 'application/octet-stream' }
const text = { mediaType: 'text/plain' }

/**
 * @param open gives an empty store
 * @param large bytes of the largest object that is written; what an implementation does in parts has to be below
 */
export function conformance(name: string, open: () => Promise<Storage>, large: number): void {
  describe(`storage: ${name}`, () => {
    test('what is written is read, with its facts', async () => {
      const storage = await open()
      const before = Date.now()
      const written = await storage.put('files/one', 'körper', { mediaType: 'text/plain' })
      const facts = (await storage.facts('files/one'))!
      assert.deepEqual(written, facts)
      assert.deepEqual([facts.key, facts.bytes, facts.mediaType], ['files/one', 7, 'text/plain'])
      assert.ok(Math.abs(facts.modified.getTime() - before) < 60_000)
      assert.deepEqual(await readText(storage, 'files/one'), { text: 'körper', version: facts.version })
      assert.deepEqual((await storage.read('files/one'))!.facts, facts)
    })

    test('an object of no bytes is an object', async () => {
      const storage = await open()
      await storage.put('empty', new Uint8Array(), octets)
      assert.equal((await storage.facts('empty'))!.bytes, 0)
      assert.equal((await readText(storage, 'empty'))!.text, '')
    })

    test('what is not there is null', async () => {
      const storage = await open()
      await storage.put('files/one', 'x', text)
      for (const key of ['files/two', 'files', 'files/one/more', 'file']) {
        assert.equal(await storage.facts(key), null, key)
        assert.equal(await storage.read(key), null, key)
      }
    })

    test('ranges are the bytes that slicing gives', async () => {
      const storage = await open()
      const content = randomBytes(100_000)
      await storage.put('files/bytes', content, octets)
      for (const [offset, length] of [
        [0, 1],
        [99_999, 1],
        [1234, 65_537],
        [0, 100_000],
      ] as const) {
        const { body, facts } = (await storage.read('files/bytes', { offset, length }))!
        assert.equal(facts.bytes, 100_000)
        assert.ok(
          content.subarray(offset, offset + length).equals(await bytesOf(body)),
          `${offset}+${length}`,
        )
      }
    })

    test('a stream is written as it comes', async () => {
      const storage = await open()
      const content = randomBytes(large)
      const sha256 = createHash('sha256').update(content).digest('hex')
      await storage.put('files/large', streamOf(content), { ...octets, bytes: large, sha256 })
      assert.ok(content.equals(await bytesOf((await storage.read('files/large'))!.body)))
    })

    test('contents of another hash or length are refused, and what was there stays', async () => {
      const storage = await open()
      await storage.put('files/one', 'old', text)
      const sha256 = createHash('sha256').update('right').digest('hex')
      const large = randomBytes(100_000)
      const refused: [Parameters<Storage['put']>[1], object][] = [
        ['wrong', { sha256 }],
        [new TextEncoder().encode('wrong'), { sha256 }],
        [streamOf(large), { sha256, bytes: 100_000 }],
        [streamOf(large), { bytes: 99_999 }],
        [streamOf(large), { bytes: 100_001 }],
      ]
      for (const [content, promised] of refused) {
        await assert.rejects(storage.put('files/one', content, { ...text, ...promised }), Mismatch)
        await assert.rejects(storage.put('files/two', content, { ...text, ...promised }))
      }
      assert.equal((await readText(storage, 'files/one'))!.text, 'old')
      assert.deepEqual(
        (await storage.list('')).objects.map(({ key }) => key),
        ['files/one'],
      )
      assert.ok(await storage.put('files/two', 'right', { ...text, sha256 }))
    })

    test('a stream that breaks off leaves what was there', async () => {
      const storage = await open()
      await storage.put('files/one', 'old', text)
      for (const bytes of [100_000, large]) {
        const broken = new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(new Uint8Array(50_000))
            controller.error(new Error('the sender is gone'))
          },
        })
        await assert.rejects(storage.put('files/one', broken, { ...octets, bytes }))
      }
      assert.equal((await readText(storage, 'files/one'))!.text, 'old')
    })

    test('write-once: only where there is nothing', async () => {
      const storage = await open()
      assert.ok(await storage.put('once', 'first', { ...text, only: 'absent' }))
      assert.equal(await storage.put('once', 'second', { ...text, only: 'absent' }), null)
      assert.equal((await readText(storage, 'once'))!.text, 'first')
    })

    test('compare and swap: only over the version that was read', async () => {
      const storage = await open()
      const first = (await storage.put('record', 'a', text))!
      const second = (await storage.put('record', 'b', { ...text, only: { version: first.version } }))!
      assert.notEqual(first.version, second.version)
      assert.equal(await storage.put('record', 'c', { ...text, only: { version: first.version } }), null)
      assert.equal(await storage.put('absent', 'c', { ...text, only: { version: first.version } }), null)
      assert.equal((await readText(storage, 'record'))!.text, 'b')
      assert.equal(await storage.facts('absent'), null)
    })

    test('of several that write over one version, one succeeds', async () => {
      const storage = await open()
      const { version } = (await storage.put('record', 'start', text))!
      const writers = Array.from({ length: 8 }, (_, i) => `writer ${i}`)
      const outcomes = await Promise.all(
        writers.map((name) => storage.put('record', name, { ...text, only: { version } })),
      )
      assert.equal(outcomes.filter((outcome) => outcome !== null).length, 1)
      const winner = writers[outcomes.findIndex((outcome) => outcome !== null)]
      assert.equal((await readText(storage, 'record'))!.text, winner)
      const creators = await Promise.all(
        writers.map((name) => storage.put('fresh', name, { ...text, only: 'absent' })),
      )
      assert.equal(creators.filter((outcome) => outcome !== null).length, 1)
    })

    test('lists in order, by prefix, in pages', async () => {
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
      for (const facts of first.objects) assert.deepEqual(facts, await storage.facts(facts.key))
      const after = await storage.list('a/', { after: 'a/15' })
      assert.deepEqual(
        after.objects.map(({ key }) => key),
        ['a/2', 'a/b/c'],
      )
      assert.deepEqual(await storage.list('nothing/'), { objects: [], more: false })
      assert.deepEqual((await Array.fromAsync(listAll(storage, 'a/'))).length, 4)
    })

    test('removing is final and may be repeated', async () => {
      const storage = await open()
      for (const key of ['a', 'b', 'c']) await storage.put(key, key, text)
      await storage.remove(['a', 'c', 'nothing'])
      await storage.remove(['a'])
      assert.deepEqual(
        (await storage.list('')).objects.map(({ key }) => key),
        ['b'],
      )
      assert.equal(await storage.read('a'), null)
      assert.ok(await storage.put('a', 'again', { ...text, only: 'absent' }))
    })

    test('who reads an object while it is replaced gets one of the two, whole', async () => {
      const storage = await open()
      const versions = ['x', 'y'].map((letter) => letter.repeat(300_000))
      await storage.put('record', versions[0]!, text)
      const reads = Array.from({ length: 20 }, async (_, i) => {
        if (i % 4 === 0) await storage.put('record', versions[(i / 4) % 2]!, text)
        return (await readText(storage, 'record'))!.text
      })
      for (const found of await Promise.all(reads)) assert.ok(versions.includes(found))
    })
  })
}

function streamOf(content: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      const next = Math.min(at + 65_536, content.length)
      if (next > at) controller.enqueue(content.slice(at, next))
      at = next
      if (at === content.length) controller.close()
    },
  })
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  return Buffer.from(await new Response(stream).arrayBuffer())
}
