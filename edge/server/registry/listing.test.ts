import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createManifest } from '../../../test/support/exported.ts'
import { fc } from '../../../test/support/properties.ts'
import { memoryStorage } from '../storage/memory.ts'
import type { Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'
import { listModels } from './listing.ts'
import { maxRecordsRead } from './model-index.ts'
import { summarize } from './record.ts'

interface Model {
  readonly name: string
  readonly description: string
  readonly classes: string[]
  /** Whether the model was unpublished: its record exists, without versions. */
  readonly unpublished: boolean
}

async function createRegistry(models: readonly Model[]): Promise<Storage> {
  const storage = memoryStorage()
  for (const { name, description, classes, unpublished } of models) {
    const manifest = { ...createManifest(name, []), description, classes }
    const summary = unpublished ? null : summarize(manifest, 'a'.repeat(64), '2026-01-01T00:00:00.000Z')
    const record = { format: 1, name, versions: [], aliases: {}, summary }
    await storage.put(keys.record(name), JSON.stringify(record), { mediaType: 'application/json' })
  }
  return storage
}

/** Reads all pages of a search. */
async function readPages(storage: Storage, query: string, limit: number): Promise<string[][]> {
  const pages: string[][] = []
  let after: string | undefined
  do {
    const { models, next } = await listModels(storage, { query, limit, after })
    pages.push(models.map(({ name }) => name))
    after = next ?? undefined
  } while (after !== undefined)
  return pages
}

// Few words and characters, so that some searches match and names share prefixes.
const word = fc.constantFrom('cat', 'dog', 'Concat', 'do')
const part = fc.stringMatching(/^[ab][ab.-]{0,2}$/).filter((text) => !text.includes('..'))
const model = fc.record({
  name: fc.tuple(part, part).map((parts) => parts.join('/')),
  description: fc.array(word, { maxLength: 2 }).map((words) => words.join(' ')),
  classes: fc.array(word, { maxLength: 1 }),
  unpublished: fc.boolean(),
})
const query = fc.oneof(fc.constant(''), fc.constantFrom('CAT', 'dog', 'cat dog', 'a/', 'bird', ' do  cat '))

test('all pages but the last are full; together they list every match once, in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(model, { selector: ({ name }) => name, maxLength: 40 }),
      query,
      fc.integer({ min: 1, max: 12 }),
      async (models, query, limit) => {
        const pages = await readPages(await createRegistry(models), query, limit)
        const words = query.trim().toLowerCase().split(/ +/)
        const matches = models.filter(({ name, description, classes, unpublished }) => {
          const text = `${name} ${description} ${classes.join(' ')}`.toLowerCase()
          return !unpublished && words.every((word) => text.includes(word))
        })
        const keysInOrder = matches.map(({ name }) => keys.record(name)).sort()
        assert.deepEqual(pages.flat().map(keys.record), keysInOrder)
        const last = pages.pop()!
        assert.ok(pages.every((page) => page.length === limit))
        assert.ok(last.length > 0 || pages.length === 0, 'the last page is not empty')
      },
    ),
    { numRuns: 500 },
  )
})

test('the index is built in steps: until it is complete, pages may be short and continue on the next page', async () => {
  const names = Array.from({ length: 2 * maxRecordsRead + 10 }, (_, i) => `ada/${String(i).padStart(5, '0')}`)
  const rare = new Set([0, 450, maxRecordsRead - 1, maxRecordsRead, 2 * maxRecordsRead + 9])
  const storage = await createRegistry(
    names.map((name, i) => ({
      name,
      description: rare.has(i) ? 'rare' : '',
      classes: [],
      unpublished: false,
    })),
  )
  const matches = [...rare].map((i) => names[i]!)
  assert.deepEqual(await readPages(storage, 'rare', 10), [matches.slice(0, 3), [matches[3]], [matches[4]]])
  assert.deepEqual(await readPages(storage, 'rare', 10), [matches])
  assert.deepEqual(await readPages(storage, 'nothing', 10), [[]])
  assert.deepEqual((await readPages(storage, '', 100)).flat(), names)
})
