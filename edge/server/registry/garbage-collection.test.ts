import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { intercepted } from '../../../test/support/faults.ts'
import { fc } from '../../../test/support/properties.ts'
import {
  assertConsistent,
  createModel,
  listFiles,
  octets,
  publish,
  sha256Of,
} from '../../../test/support/registry.ts'
import { memoryStorage } from '../storage/memory.ts'
import { RegistryError } from './errors.ts'
import { collectGarbage } from './garbage-collection.ts'
import { keys } from './keys.ts'
import { findVersion, unpublish } from './models.ts'
import { begin, putFile } from './publishing.ts'
import { putPart } from './uploading.ts'

test('a record under an invalid name stops the garbage collection, and nothing is removed', async () => {
  const storage = memoryStorage()
  const model = createModel('ada/shapes', 'unpublished')
  await publish(storage, model)
  await unpublish(storage, 'ada/shapes')
  // Earlier versions accepted "..".
  await storage.put('registry/ada/a..b.json', '{}', { mediaType: 'application/json' })
  const options = { keepDays: 0, clock: () => new Date(Date.now() + 1000) }
  await assert.rejects(
    collectGarbage(storage, options),
    /"registry\/ada\/a\.\.b\.json" .* Nothing was removed/,
  )
  assert.equal((await listFiles(storage)).length, 3)
})

test('the garbage collection removes unreferenced files that are old enough', async () => {
  let now = new Date('2026-01-01T00:00:00Z')
  const storage = memoryStorage(() => now)
  const clock = () => now
  const [published, unpublished] = [createModel('ada/shapes', 'kept'), createModel('ada/digits', 'gone')]
  for (const each of [published, unpublished]) await publish(storage, each, [], now)
  await storage.put(keys.variant(published.manifest.files[0]!.sha256, 'br'), 'x', { mediaType: octets })
  await storage.put(keys.variant(unpublished.manifest.files[0]!.sha256, 'br'), 'x', { mediaType: octets })
  const runtime = sha256Of(Buffer.from('wasm'))
  await storage.put(keys.file(runtime), 'wasm', { mediaType: 'application/wasm' })
  await storage.put(
    keys.runtime,
    JSON.stringify([{ sha256: runtime, bytes: 4, mediaType: 'application/wasm' }]),
    {
      mediaType: 'application/json',
    },
  )
  await unpublish(storage, 'ada/digits')
  assert.equal((await collectGarbage(storage, { clock })).removed.length, 0, 'not within a day')
  now = new Date('2026-01-02T00:00:01Z')
  const dry = await collectGarbage(storage, { clock, dryRun: true })
  assert.equal(dry.removed.length, 4, 'the manifest, two files, and the compressed variant of one')
  assert.equal((await listFiles(storage)).length, 9)
  assert.deepEqual(await collectGarbage(storage, { clock }), dry)
  assert.equal((await listFiles(storage)).length, 5)
  assert.equal(await storage.head(keys.file(unpublished.version)), null)
  assert.ok(await storage.head(keys.file(runtime)))
  await assertConsistent(storage)
  assert.equal((await collectGarbage(storage, { clock })).removed.length, 0)
})

test('the garbage collection aborts if a manifest is missing, and names it', async () => {
  const storage = memoryStorage()
  const one = createModel('ada/shapes', 'one')
  await publish(storage, one)
  await storage.remove([keys.file(one.version)])
  await assert.rejects(
    collectGarbage(storage, { keepDays: 0 }),
    new RegExp(`manifest of ada/shapes, version ${one.version}, is missing`),
  )
  assert.equal(await storage.head(keys.collection), null, 'the lock is released')
  assert.equal((await listFiles(storage)).length, 2)
})

test('an abandoned lock expires', async () => {
  let now = new Date('2026-01-01T00:00:00Z')
  const storage = memoryStorage(() => now)
  await storage.put(keys.collection, '{}', { mediaType: 'application/json' })
  await assert.rejects(collectGarbage(storage, { clock: () => now }), { reason: 'busy' })
  now = new Date('2026-01-01T00:31:00Z')
  await collectGarbage(storage, { clock: () => now })
  assert.equal(await storage.head(keys.collection), null)
})

test('abandoned publications are removed after two days', async () => {
  let now = new Date('2026-01-01T00:00:00Z')
  const storage = memoryStorage(() => now)
  const one = createModel('ada/shapes', 'one')
  const { missing } = await begin(storage, one.text)
  for (const [i, file] of missing.entries()) await putFile(storage, file, () => one.contents[i]!)
  await putPart(storage, 'a'.repeat(64), 0, new Blob(['x']).stream(), 1)
  now = new Date('2026-01-02T23:00:00Z')
  assert.equal((await collectGarbage(storage, { clock: () => now })).removed.length, 0)
  now = new Date('2026-01-03T00:01:00Z')
  assert.equal((await collectGarbage(storage, { clock: () => now })).removed.length, 3)
  assert.deepEqual(
    (await storage.list('')).objects.map(({ key }) => key),
    [keys.index],
  )
})

test('a concurrent garbage collection never removes files of a publication, in any interleaving', async () => {
  // fast-check schedules the order of all storage operations.
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.boolean(), async (scheduler, unpublishes) => {
      const store = memoryStorage(() => new Date(Date.now() - 10))
      const shared = [randomBytes(20), randomBytes(10)]
      const [first, second] = [
        createModel('ada/first', 'first', shared),
        createModel('ada/second', 'second', shared),
      ]
      await publish(store, first)
      // Either the files are unreferenced from the start, or they become so during the collection.
      if (!unpublishes) await unpublish(store, 'ada/first')
      const scheduled = (label: string) =>
        intercepted(store, async (run, operation, key) => {
          await scheduler.schedule(Promise.resolve(), `${label}: ${operation} ${key}`)
          return await run()
        })
      const publishWithRetry = async () => {
        for (;;) {
          try {
            return await publish(scheduled('publish'), second)
          } catch (error) {
            if (!(error instanceof RegistryError && error.reason === 'busy')) throw error
          }
        }
      }
      const tasks = [
        publishWithRetry(),
        collectGarbage(scheduled('collect'), { keepDays: 0 }),
        ...(unpublishes ? [unpublish(scheduled('unpublish'), 'ada/first')] : []),
      ]
      await scheduler.waitFor(Promise.all(tasks))
      await assertConsistent(store)
      assert.equal((await findVersion(store, 'ada/second')).text, second.text)
    }),
    { numRuns: 300 },
  )
})
