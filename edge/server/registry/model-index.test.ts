import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { dyingStorage, intercepted, Killed } from '../../../test/support/faults.ts'
import { createModel, publish } from '../../../test/support/registry.ts'
import { createApp } from '../app.ts'
import { memoryStorage } from '../storage/memory.ts'
import type { Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { collectGarbage } from './garbage-collection.ts'
import { keys } from './keys.ts'
import { listModels } from './listing.ts'
import { maxRecordsRead } from './model-index.ts'
import { listRecords, moveAlias, unpublish } from './models.ts'

/** Lists the models twice: from the index, and from their records. */
async function compareWithRecords(storage: Storage): Promise<string[]> {
  const listed = []
  let after: string | undefined
  do {
    const { models, next } = await listModels(storage, { limit: 100, after })
    listed.push(...models)
    after = next ?? undefined
  } while (after !== undefined)
  const records = await Array.fromAsync(listRecords(storage))
  const expected = records.map(({ summary }) => summary)
  assert.ok(isDeepStrictEqual(listed, expected), 'the index agrees with the records')
  return listed.map(({ name }) => name)
}

/** Wraps a storage. Counts operations by name, and makes each of them take a moment. */
function observed(storage: Storage, delay = () => Promise.resolve()) {
  const counts: Record<string, number> = {}
  const wrapped = intercepted(storage, async (run, operation) => {
    counts[operation] = (counts[operation] ?? 0) + 1
    await delay()
    return run()
  })
  return { storage: wrapped, counts, reset: () => Object.keys(counts).map((name) => delete counts[name]) }
}

/** Stores records of listed or of unpublished models, as a server without an index would. */
async function putRecords(storage: Storage, names: readonly string[], listed: boolean): Promise<void> {
  const model = createModel('template/model', '')
  await publish(storage, model)
  const template = (await Array.fromAsync(listRecords(storage)))[0]!
  for (const name of names) {
    const summary = listed ? { ...template.summary, name } : null
    const record = { ...template, name, ...(!listed && { versions: [], aliases: {} }), summary }
    await storage.put(keys.record(name), JSON.stringify(record), { mediaType: 'application/json' })
  }
  await storage.remove([keys.record('template/model'), keys.index])
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_, i) => `ada/${String(i).padStart(5, '0')}`)

test('an unknown model costs three reads of the store, with 1,500 unpublished records', async () => {
  const store = memoryStorage()
  await putRecords(store, numbered(1500), false)
  await publish(store, createModel('bob/figures', ''))
  for (const path of ['/api/models/ada/none', '/api/models/ada/none/versions', '/ada/none/resolve/main/x']) {
    const { storage, counts } = observed(store)
    const host = { storage, publishToken: null, allow: async () => true, log: () => {} }
    const app = createApp(() => ({ ...host, assets: async () => new Response('', { status: 404 }) }))
    assert.equal((await app.request(path)).status, 404)
    assert.equal(counts['list'] ?? 0, 0, path)
    assert.ok((counts['read'] ?? 0) + (counts['head'] ?? 0) <= 3, JSON.stringify(counts))
  }
})

test('with a complete index, a listing and a search cost one read, and no read of a record', async () => {
  const store = memoryStorage()
  await putRecords(store, numbered(1000), true)
  await compareWithRecords(store)
  const { storage, counts, reset } = observed(store)
  await listModels(storage, { limit: 50 })
  assert.deepEqual(counts, { read: 1 })
  for (const query of ['', '00123', 'nothing']) {
    reset()
    await listModels(storage, { limit: 50, query })
    assert.deepEqual(counts, { head: 1 })
  }
})

test('publishing, moving `latest`, and unpublishing change the list', async () => {
  const storage = memoryStorage()
  const first = createModel('ada/shapes', 'first')
  const second = createModel('ada/shapes', 'second')
  for (const model of [
    first,
    createModel('bob/b', ''),
    createModel('bob/b-c', ''),
    createModel('bob/a', ''),
  ]) {
    await publish(storage, model)
    await compareWithRecords(storage)
  }
  await publish(storage, second)
  assert.equal((await listModels(storage, { limit: 1 })).models[0]!.description, 'second')
  await moveAlias(storage, 'ada/shapes', 'latest', first.version)
  assert.equal((await listModels(storage, { limit: 1 })).models[0]!.description, 'first')
  assert.equal((await listModels(storage, { limit: 1, query: 'second' })).models.length, 0)
  await unpublish(storage, 'ada/shapes', first.version)
  await unpublish(storage, 'bob/b')
  assert.deepEqual(await compareWithRecords(storage), ['ada/shapes', 'bob/a', 'bob/b-c'])
})

test('concurrent changes and listings leave an index that agrees with the records', async () => {
  for (let round = 0; round < 40; round++) {
    const store = memoryStorage()
    // Half of the rounds start without an index.
    if (round % 2 === 0) await putRecords(store, numbered(5), true)
    const { storage } = observed(store, async () => {
      for (let turns = Math.random() * 4; turns > 1; turns--) await setImmediate()
    })
    // Every process has its own memory.
    const another = () => intercepted(storage, (run) => run())
    const change = async (name: string) => {
      await publish(another(), createModel(name, String(round)))
      await unpublish(another(), name).catch((error) => assert.ok(error instanceof RegistryError))
    }
    await Promise.all([
      ...['ada/00002', 'ada/00002', 'bob/a', 'bob/a'].map(change),
      publish(another(), createModel('bob/a', 'last')),
      listModels(another(), { limit: 100 }),
    ])
    await compareWithRecords(store)
  }
})

test('a process that ends at any operation: repeating the change, or a collection, repairs the index', async () => {
  const model = createModel('ada/shapes', 'new')
  for (const done of [false, true]) {
    for (let at = 0; ; at++) {
      const store = memoryStorage()
      await publish(store, createModel('ada/shapes', 'old'))
      await publish(store, createModel('bob/figures', ''))
      const dying = dyingStorage(store, at, done)
      const change = async (storage: Storage) => {
        await publish(storage, model)
        await unpublish(storage, 'bob/figures')
      }
      const survived = await change(dying).then(
        () => true,
        (error) => {
          assert.ok(error instanceof Killed)
          return false
        },
      )
      await change(store).catch((error) => assert.equal((error as RegistryError).reason, 'unknown model'))
      assert.deepEqual(await compareWithRecords(store), ['ada/shapes'])

      const other = memoryStorage()
      await publish(other, createModel('bob/figures', ''))
      await change(dyingStorage(other, at, done)).catch((error) => assert.ok(error instanceof Killed))
      await collectGarbage(other, { keepDays: 1 })
      await compareWithRecords(other)
      if (survived) break
    }
  }
})

test('an index of another format, and one that cannot be written, do not hide models', async () => {
  const store = memoryStorage()
  const names = numbered(maxRecordsRead + 10)
  await putRecords(store, names, true)
  await store.put(keys.index, 'ddpm-models 999\tx\tcomplete\n', { mediaType: 'text/plain' })
  assert.deepEqual(await compareWithRecords(store), names)

  await store.remove([keys.index])
  const readOnly = intercepted(store, async (run, operation) => {
    if (operation === 'put') throw new Error('read-only')
    return await run()
  })
  assert.deepEqual(await compareWithRecords(readOnly), names)
})
