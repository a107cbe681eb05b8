import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { UserError } from '@ddpm/shared'
import { readIdx } from './idx.ts'

const scratch = await mkdtemp(join(tmpdir(), 'idx-'))
after(() => rm(scratch, { recursive: true }))

// Byte for byte as in the description of the format: two images of 2 rows and 3 columns, labels 7 and 2.
const images = Buffer.from(
  '00000803 00000002 00000002 00000003 000102030405 fafbfcfdfeff'.replaceAll(' ', ''),
  'hex',
)
const labels = Buffer.from('00000801 00000002 0702'.replaceAll(' ', ''), 'hex')
let folders = 0

async function folder(files: Record<string, Uint8Array>): Promise<string> {
  const path = join(scratch, String(folders++))
  await mkdir(path)
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(path, name), bytes)
  return path
}

for (const [kind, suffix, pack] of [
  ['plain', '', (bytes: Buffer) => bytes],
  ['gzipped', '.gz', (bytes: Buffer) => gzipSync(bytes)],
] as const) {
  test(`${kind} images and labels`, async () => {
    const path = await folder({
      [`train-images-idx3-ubyte${suffix}`]: pack(images),
      [`train-labels-idx1-ubyte${suffix}`]: pack(labels),
      [`t10k-images-idx3-ubyte${suffix}`]: pack(images.subarray(0, 5)),
    })
    const dataset = await readIdx(path)
    assert.deepEqual([dataset.count, dataset.channels, dataset.height, dataset.width], [2, 1, 2, 3])
    assert.deepEqual([...dataset.pixels], [0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255])
    assert.deepEqual([...dataset.labels!], [7, 2])
    assert.deepEqual(dataset.classes, ['0', '1', '2', '3', '4', '5', '6', '7'])
  })
}

test('images without a labels file have no labels', async () => {
  const path = await folder({ 'digits.bin': images, 't10k-images.idx3-ubyte': images })
  for (const name of ['digits.bin', 't10k-images.idx3-ubyte']) {
    const dataset = await readIdx(join(path, name))
    assert.equal(dataset.labels, null)
    assert.deepEqual(dataset.classes, [])
  }
})

const bad: [string, Record<string, Uint8Array>, RegExp][] = [
  [
    'truncated images',
    { 'train-images-idx3-ubyte': images.subarray(0, 20) },
    /expected 28 bytes for 2 images × 2 rows × 3 columns, got 20/,
  ],
  [
    'a truncated header',
    { 'train-images-idx3-ubyte': images.subarray(0, 9) },
    /expected a header of 16 bytes, got 9/,
  ],
  ['an empty file', { 'train-images-idx3-ubyte': Buffer.alloc(0) }, /expected a header of 16 bytes, got 0/],
  [
    'too many bytes',
    { 'train-images-idx3-ubyte': Buffer.concat([images, images]) },
    /expected 28 bytes for 2 images .*, got 56/,
  ],
  [
    'labels instead of images',
    { 'train-images-idx3-ubyte': labels },
    /magic number 0x00000803 .*, got 0x00000801/,
  ],
  [
    'no images',
    { 'train-images-idx3-ubyte': Buffer.from(`00000803${'0'.repeat(24)}`, 'hex') },
    /is empty: it has 0 images of 0×0/,
  ],
  [
    'too few labels',
    {
      'train-images-idx3-ubyte': images,
      'train-labels-idx1-ubyte': Buffer.from('000008010000000107', 'hex'),
    },
    /has 2 images, but .* has 1 labels/,
  ],
  [
    'an unpacked file named .gz',
    { 'train-images-idx3-ubyte.gz': images },
    /Invalid gzip file .*: expected the first bytes 1f8b, got 0000/,
  ],
  [
    'truncated gzip',
    { 'train-images-idx3-ubyte.gz': gzipSync(images).subarray(0, 20) },
    /truncated or damaged/,
  ],
  ['no images file', { 'train-labels-idx1-ubyte': labels }, /expected train-images-idx3-ubyte/],
]
for (const [what, files, message] of bad) {
  test(`rejected with an error that names the file: ${what}`, async () => {
    const path = await folder(files)
    await assert.rejects(readIdx(path), (error: Error) => {
      assert.ok(error instanceof UserError)
      assert.match(error.message, message)
      assert.ok(error.message.includes(path))
      return true
    })
  })
}

// Known properties of MNIST: 60,000 images, first labels 5 0 4 1 9 2, mean 0.1307.
const mnist = process.env['DDPM_TEST_MNIST']
test('the real MNIST', { skip: mnist ? false : 'DDPM_TEST_MNIST is not set to its folder' }, async () => {
  const dataset = await readIdx(mnist!)
  assert.deepEqual(
    [dataset.count, dataset.height, dataset.width, dataset.classes.length],
    [60000, 28, 28, 10],
  )
  assert.deepEqual([...dataset.labels!.subarray(0, 6)], [5, 0, 4, 1, 9, 2])
  const mean = dataset.pixels.reduce((a, b) => a + b) / dataset.pixels.length / 255
  assert.equal(mean.toFixed(4), '0.1307')
})
