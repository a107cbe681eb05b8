import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { writeManifest } from '../../../test/support/exported.ts'
import { memoryStorage } from '../storage/memory.ts'
import type { Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'
import { listModels, scanned } from './listing.ts'
import { summaryOf } from './record.ts'

interface Model {
  readonly name: string
  readonly description: string
  readonly classes: string[]
  /** Taken back: its record is there, without versions. */
  readonly gone: boolean
}

async function registryOf(models: readonly Model[]): Promise<Storage> {
  const storage = memoryStorage()
  for (const { name, description, classes, gone } of models) {
    const manifest = { ...writeManifest(name, []), description, classes }
    const summary = gone ? null : summaryOf(manifest, 'a'.repeat(64), '2026-01-01T00:00:00.000Z')
    const record = { format: 1, name, versions: [], aliases: {}, summary }
    await storage.put(keys.record(name), JSON.stringify(record), { mediaType: 'application/json' })
  }
  return storage
}

/** Every page of a search, from the first on. */
async function pagesOf(storage: Storage, query: string, limit: number): Promise<string[][]> {
  const pages: string[][] = []
  let after: string | undefined
  do {
    const { models, next } = await listModels(storage, { query, limit, after })
    pages.push(models.map(({ name }) => name))
    after = next ?? undefined
  } while (after !== undefined)
  return pages
}

// Few words and characters, so that some match and names share their beginnings.
const word = fc.constantFrom('cat', 'dog', 'Concat', 'do')
const part = fc.stringMatching(/^[ab][ab.-]{0,2}$/)
const model = fc.record({
  name: fc.tuple(part, part).map((parts) => parts.join('/')),
  description: fc.array(word, { maxLength: 2 }).map((words) => words.join(' ')),
  classes: fc.array(word, { maxLength: 1 }),
  gone: fc.boolean(),
})
const query = fc.oneof(fc.constant(''), fc.constantFrom('CAT', 'dog', 'cat dog', 'a/', 'bird', ' do  cat '))

test('pages are full to the last, hold every match once and in order, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(model, { selector: ({ name }) => name, maxLength: 40 }),
      query,
      fc.integer({ min: 1, max: 12 }),
      async (models, query, limit) => {
        const pages = await pagesOf(await registryOf(models), query, limit)
        const words = query.trim().toLowerCase().split(/ +/)
        const matches = models.filter(({ name, description, classes, gone }) => {
          const text = `${name} ${description} ${classes.join(' ')}`.toLowerCase()
          return !gone && words.every((word) => text.includes(word))
        })
        const keysInOrder = matches.map(({ name }) => keys.record(name)).sort()
        assert.deepEqual(pages.flat().map(keys.record), keysInOrder)
        const last = pages.pop()!
        assert.ok(pages.every((page) => page.length === limit))
        assert.ok(last.length > 0 || pages.length === 0, 'the last page holds something')
      },
    ),
    { numRuns: 500 },
  )
})

test('a search goes on as far as one request may read, and the next page from there', async () => {
  const names = Array.from({ length: 2 * scanned + 10 }, (_, i) => `ada/${String(i).padStart(5, '0')}`)
  const rare = new Set([0, 450, scanned - 1, scanned, 2 * scanned + 9])
  const storage = await registryOf(
    names.map((name, i) => ({ name, description: rare.has(i) ? 'rare' : '', classes: [], gone: false })),
  )
  const found = [...rare].map((i) => names[i]!)
  assert.deepEqual(await pagesOf(storage, 'rare', 10), [found.slice(0, 3), [found[3]], [found[4]]])
  assert.deepEqual(await pagesOf(storage, 'nothing', 10), [[], [], []])
  assert.deepEqual((await pagesOf(storage, '', 100)).flat(), names)
})
