import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSavedImages, type SavedImage } from './saved-images.ts'

function memoryStorage(): Pick<Storage, 'getItem' | 'setItem'> & { readonly map: Map<string, string> } {
  const map = new Map<string, string>()
  return { map, getItem: (key) => map.get(key) ?? null, setItem: (key, value) => void map.set(key, value) }
}

function item(link: string, picture = 0, thumbnail = 'data:image/png;base64,AA'): SavedImage {
  return { link: `?${link}`, title: link, thumbnail, picture }
}

const names = (items: readonly SavedImage[]) => items.map(({ title, picture }) => `${title}.${picture}`)

test('the latest image comes first, nothing appears twice, and the oldest is dropped', () => {
  const storage = memoryStorage()
  const saved = openSavedImages('key', 3, storage)
  for (const it of [item('a'), item('b'), item('a', 1), item('b'), item('c')]) saved.add(it)
  assert.deepEqual(names(saved.items), ['c.0', 'b.0', 'a.1'])
  assert.deepEqual(
    [item('b'), item('b', 1)].map((it) => saved.has(it)),
    [true, false],
  )
  saved.remove(item('b'))
  assert.deepEqual(names(openSavedImages('key', 3, storage).items), ['c.0', 'a.1'])
})

test('old images with long links are dropped before the storage is full', () => {
  const storage = memoryStorage()
  const saved = openSavedImages('key', 40, storage)
  for (let i = 0; i < 40; i++) saved.add(item(`${i}${'x'.repeat(30_000)}`))
  assert.ok(storage.map.get('key')!.length <= 500_000)
  assert.ok(saved.items[0]!.link.startsWith('?39'))
  assert.ok(saved.items.length > 5)
})

test('images stored by the first version of the studio can be read', () => {
  const storage = memoryStorage()
  const stored =
    '{"link":"?model=a/b&seed=1","title":"a/b","thumbnail":"data:image/png;base64,AA","picture":3}'
  storage.map.set('key', `[${stored}]`)
  assert.deepEqual(openSavedImages('key', 3, storage).items, [JSON.parse(stored)])
})

test('invalid data is ignored, and a full storage is not an error', () => {
  for (const text of ['{', '5', '[{"link":"https://elsewhere.example"}]', '[null]']) {
    const storage = memoryStorage()
    storage.map.set('key', text)
    assert.deepEqual(openSavedImages('key', 3, storage).items, [], text)
  }
  const full = openSavedImages('key', 3, {
    getItem: () => null,
    setItem() {
      throw new DOMException('full', 'QuotaExceededError')
    },
  })
  full.add(item('a'))
  assert.equal(full.items.length, 1)
})
