import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Dataset } from '../data/dataset/dataset.ts'
import { describeChanges, listImagesOf, readImageList, writeImageList } from './image-list.ts'

const images = (...names: string[]) => names.map((name) => ({ path: name[0]!, sha1: name }))

test('changed, removed and added images are counted and named', () => {
  assert.equal(describeChanges(images('a', 'b'), images('a', 'b')), null)
  assert.equal(
    describeChanges(images('a', 'b', 'c', 'd', 'e', 'f'), images('a', 'b2', 'c2', 'd2', 'e2', 'g')),
    '4 changed (b, c, d and 1 more), 1 removed (f), 1 added (g)',
  )
})

test('images of a file are identified by their index and pixels', () => {
  const dataset: Dataset = {
    name: 'two',
    channels: 1,
    height: 1,
    width: 2,
    count: 2,
    classes: [],
    pixels: Uint8Array.of(1, 2, 3, 4),
    labels: null,
  }
  const changed = { ...dataset, pixels: Uint8Array.of(1, 2, 3, 5) }
  assert.equal(describeChanges(listImagesOf(dataset), listImagesOf(changed)), '1 changed (image 1)')
})

test('a written list is read again; a missing or damaged one is null', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-image-list-'))
  t.after(() => rmSync(folder, { recursive: true }))
  assert.equal(readImageList(folder), null)
  const list = [{ path: 'a\tb "c"\n.png', sha1: 'x' }]
  writeImageList(folder, list)
  assert.deepEqual(readImageList(folder), list)
  writeFileSync(join(folder, 'images.jsonl'), '{"path": 3}')
  assert.equal(readImageList(folder), null)
})
