import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { UserError } from '@ddpm/shared'
import sharp from 'sharp'
import { createFaces } from './faces/dataset.ts'
import { type OpenOptions, openData } from './open.ts'
import { createShapes } from './shapes/dataset.ts'

const scratch = await mkdtemp(join(tmpdir(), 'open-'))
after(() => rm(scratch, { recursive: true }))

const idx = join(scratch, 'digits')
await mkdir(idx)
const imagesFile = Buffer.from(`00000803000000010000000200000002${'01020304'}`, 'hex')
await writeFile(join(idx, 'train-images-idx3-ubyte'), imagesFile)
await writeFile(join(idx, 'unnamed'), imagesFile)
await writeFile(join(idx, 'train-labels-idx1-ubyte'), Buffer.from('000008010000000105', 'hex'))

const images = join(scratch, 'pictures')
await mkdir(images)
const image = sharp({ create: { width: 40, height: 40, channels: 3, background: '#c04020' } })
await image.toFile(join(images, 'a.png'))
await image.toFile(join(scratch, 'single.png'))
await writeFile(join(scratch, 'images.tar'), 'packed')

test('a name, alone or with a count, opens a built-in set with the seed', async () => {
  assert.deepEqual(await openData('shapes:12', { seed: 4 }), createShapes(12, 4))
  assert.equal((await openData('shapes', { seed: 4, size: 32, channels: 3 })).count, 4096)
  assert.deepEqual(await openData('faces:12', { seed: 4, size: 32 }), await createFaces(12, 4))
})

test('IDX is detected by its name or its first bytes, and padded to the size', async () => {
  for (const source of [idx, join(idx, 'train-images-idx3-ubyte'), join(idx, 'unnamed')]) {
    const dataset = await openData(source, { seed: 0 })
    assert.deepEqual([...dataset.pixels], [1, 2, 3, 4])
  }
  const padded = await openData(idx, { seed: 0, size: 4 })
  assert.deepEqual([...padded.pixels], [0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0])
  assert.deepEqual([...padded.labels!], [5])
})

test('the classes of IDX get names, one for each label', async () => {
  const names = ['zero', 'one', 'two', 'three', 'four', 'five']
  assert.deepEqual((await openData(idx, { seed: 0, classNames: names })).classes, names)
})

test('sizes of width and height scale a folder and pad IDX', async () => {
  const folder = await openData(images, { seed: 0, size: '16x12' })
  assert.deepEqual([folder.width, folder.height, folder.pixels.length], [16, 12, 3 * 16 * 12])
  const { width, height, pixels } = await openData(idx, { seed: 0, size: '4x2' })
  assert.deepEqual([width, height], [4, 2])
  assert.deepEqual([...pixels], [0, 1, 2, 0, 0, 3, 4, 0])
})

test('a folder of images is 32×32 by default', async () => {
  const dataset = await openData(images, { seed: 0 })
  assert.deepEqual([dataset.name, dataset.channels, dataset.height, dataset.width], ['pictures', 3, 32, 32])
  assert.equal((await openData(images, { seed: 0, size: 8 })).pixels.length, 3 * 64)
})

const large = join(scratch, 'large-images-idx3-ubyte')
await writeFile(large, Buffer.from('00000803', 'hex'))
await truncate(large, 3 * 2 ** 30)

const bad: [string, string, Partial<OpenOptions>, RegExp][] = [
  [
    'a missing path',
    join(scratch, 'nowhere'),
    {},
    /nowhere: no such file or folder.*Use "shapes" or "faces"/,
  ],
  ['a path below a file', join(scratch, 'single.png', 'x'), {}, /no such file or folder/],
  ['an image', join(scratch, 'single.png'), {}, /single\.png is a file.*folder of PNG/],
  ['an archive', join(scratch, 'images.tar'), {}, /unpack it first/],
  ['labels', join(idx, 'train-labels-idx1-ubyte'), {}, /magic number 0x00000803 .*, got 0x00000801/],
  ['a file larger than Node can read', large, {}, /Cannot read .*large.*greater than 2 GiB/],
  ['a count that is not a number', 'shapes:many', {}, /"shapes:many".*shapes:COUNT/],
  ['a count of 0', 'shapes:0', {}, /from 1 to/],
  ['too many shapes', 'shapes:1e9', {}, /from 1 to/],
  ['another size of shapes', 'shapes', { size: 64 }, /32×32 RGB/],
  ['another size of faces', 'faces:5', { size: 64 }, /32×32 RGB/],
  ['grey shapes', 'shapes', { channels: 1 }, /32×32 RGB/],
  ['colour from IDX', idx, { channels: 3 }, /Invalid --channels 3.*IDX/],
  ['IDX cropped', idx, { size: 1 }, /at least 2/],
  ['size 0', images, { size: 0 }, /Invalid size 0: expected a positive integer/],
  [
    'too few class names',
    idx,
    { classNames: ['a', 'b'] },
    /Invalid --class-names "a,b": expected 6 different names/,
  ],
  ['a size with a zero', images, { size: '0x8' }, /Invalid size 0x8: expected .* WIDTHxHEIGHT/],
  ['a fractional size', images, { size: 2.5 }, /size 2\.5/],
]
for (const [what, source, options, message] of bad) {
  test(`rejected with what was expected: ${what}`, async () => {
    await assert.rejects(openData(source, { seed: 0, ...options }), (error: Error) => {
      assert.ok(error instanceof UserError, error.stack)
      assert.match(error.message, message)
      return true
    })
  })
}
