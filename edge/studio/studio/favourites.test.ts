import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Kept, openFavourites } from './favourites.ts'

function memory(): Pick<Storage, 'getItem' | 'setItem'> & { readonly map: Map<string, string> } {
  const map = new Map<string, string>()
  return { map, getItem: (key) => map.get(key) ?? null, setItem: (key, value) => void map.set(key, value) }
}

function item(link: string, image = 0, thumbnail = 'data:image/png;base64,AA'): Kept {
  return { link: `?${link}`, title: link, thumbnail, image }
}

const links = (items: readonly Kept[]) => items.map(({ title, image }) => `${title}.${image}`)

test('the latest stands in front, nothing stands twice, and the oldest goes', () => {
  const storage = memory()
  const shelf = openFavourites('shelf', 3, storage)
  for (const it of [item('a'), item('b'), item('a', 1), item('b'), item('c')]) shelf.put(it)
  assert.deepEqual(links(shelf.items), ['c.0', 'b.0', 'a.1'])
  shelf.remove(item('b'))
  assert.deepEqual(links(openFavourites('shelf', 3, storage).items), ['c.0', 'a.1'])
})

test('long links push others out before the browser’s memory is full', () => {
  const storage = memory()
  const shelf = openFavourites('shelf', 40, storage)
  for (let i = 0; i < 40; i++) shelf.put(item(`${i}${'x'.repeat(30_000)}`))
  assert.ok(storage.map.get('shelf')!.length <= 500_000)
  assert.ok(shelf.items[0]!.link.startsWith('?39'))
  assert.ok(shelf.items.length > 5)
})

test('what cannot be understood counts as nothing, and a full memory stops nobody', () => {
  for (const text of ['{', '5', '[{"link":"https://elsewhere.example"}]', '[null]']) {
    const storage = memory()
    storage.map.set('shelf', text)
    assert.deepEqual(openFavourites('shelf', 3, storage).items, [], text)
  }
  const full = openFavourites('shelf', 3, {
    getItem: () => null,
    setItem() {
      throw new DOMException('full', 'QuotaExceededError')
    },
  })
  full.put(item('a'))
  assert.equal(full.items.length, 1)
})
