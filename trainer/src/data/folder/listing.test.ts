import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFolder } from '../../../../test/support/image-folder.ts'
import { listImages } from './listing.ts'

/** Lists the images of a folder of files with these names, and the warnings. */
async function list(...names: string[]): Promise<{ images: string[]; warnings: string[] }> {
  const path = await createFolder(Object.fromEntries(names.map((name) => [name, 'contents'])))
  const warnings: string[] = []
  return { images: await listImages(path, (message) => warnings.push(message)), warnings }
}

test('images are sorted by path; other files are counted by type', async () => {
  const { images, warnings } = await list(
    'b/2.JPG',
    'a.png',
    'b/1.webp',
    'notes.txt',
    'more.txt',
    'film.mp4',
    'README',
  )
  assert.deepEqual(images, ['a.png', 'b/1.webp', 'b/2.JPG'])
  assert.equal(warnings.length, 1)
  assert.match(
    warnings[0]!,
    /that are not images: 2 \.txt \(more\.txt …\), 1 without extension \(README\), 1 \.mp4 \(film\.mp4\)\.$/,
  )
})

test('files that systems create, and metadata, are neither images nor mentioned', async () => {
  const junk = ['.DS_Store', '._a.png', 'Thumbs.db', 'sub/desktop.ini', '__MACOSX/._b.png', '.cache/a.png']
  const { images, warnings } = await list('a.png', 'metadata.csv', ...junk)
  assert.deepEqual(images, ['a.png'])
  assert.deepEqual(warnings, [])
})

test('HEIC files get a hint how to convert them', async () => {
  await assert.rejects(list('a.heic', 'b.HEIC'), {
    name: 'UserError',
    message: /only 2 \.heic \(a\.heic …\)\. HEIC cannot be read\. Convert .*magick/,
  })
  const { warnings } = await list('a.heic', 'b.png')
  assert.match(warnings.join(), /1 \.heic \(a\.heic\)\. HEIC cannot be read\. Convert/)
})

test('folders without images are rejected with their contents', async () => {
  await assert.rejects(list(), {
    name: 'UserError',
    message: /Cannot find images in .*: the folder is empty\. Put PNG/,
  })
  await assert.rejects(
    list('a.svg'),
    /Cannot find images in .*: it contains only 1 \.svg \(a\.svg\)\. Put PNG/,
  )
})
