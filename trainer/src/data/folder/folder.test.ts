import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { UserError } from '@ddpm/shared'
import sharp from 'sharp'
import {
  bands,
  blue,
  createFolder,
  green,
  png,
  type Rgb,
  red,
} from '../../../../test/support/image-folder.ts'
import { split } from '../dataset/dataset.ts'
import { gather } from '../dataset/gather.ts'
import { type FolderOptions, readFolder } from './folder.ts'

const greyPng = (byte: number) =>
  bands([[byte, byte, byte]], 12, 12)
    .toColourspace('b-w')
    .png()
    .toBuffer()
const read = (path: string, options: Partial<FolderOptions> = {}) =>
  readFolder(path, { width: 4, height: 4, channels: 'auto', ...options })

/** Reads a folder and returns its warnings, one per line. */
async function warningsOf(path: string, options: Partial<FolderOptions> = {}): Promise<string> {
  const warnings: string[] = []
  await read(path, { ...options, onWarning: (message) => warnings.push(message) })
  return warnings.join('\n')
}

/**
 * Compares a pixel of an RGB image of size 4, with a tolerance because scaling overshoots at edges and JPEG is lossy.
 */
function assertNear(pixels: Uint8Array, image: number, pixel: number, colour: Rgb): void {
  const actual = [0, 1, 2].map((channel) => pixels[(3 * image + channel) * 16 + pixel]!)
  const difference = Math.max(...actual.map((byte, channel) => Math.abs(byte - colour[channel]!)))
  assert.ok(difference <= 4, `expected ${colour}, got ${actual}`)
}

test('subfolders are classes, and images are in the order of their paths', async () => {
  const path = await createFolder({
    'dogs/b.png': await png(green),
    'cats/z.JPG': await bands([blue], 12, 12).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer(),
    'dogs/a/deep.webp': await bands([red], 12, 12).webp({ lossless: true }).toBuffer(),
  })
  const dataset = await read(path)
  assert.deepEqual([dataset.count, dataset.channels, dataset.height, dataset.width], [3, 3, 4, 4])
  assert.deepEqual(dataset.classes, ['cats', 'dogs'])
  assert.deepEqual([...dataset.labels!], [0, 1, 1])
  assertNear(dataset.pixels, 0, 5, blue)
  assertNear(dataset.pixels, 1, 5, red)
  assertNear(dataset.pixels, 2, 5, green)
})

test('the shorter side is scaled and the middle cropped', async () => {
  const wide = await bands([red, green, blue], 36, 12).png().toBuffer()
  const tall = await bands([red, green, blue], 36, 12).rotate(90).png().toBuffer()
  const small = await bands([blue], 2, 3).png().toBuffer()
  const { pixels, labels, classes } = await read(
    await createFolder({ 'a.png': wide, 'b.png': tall, 'c.png': small }),
  )
  assert.equal(labels, null)
  assert.deepEqual(classes, [])
  for (const image of [0, 1]) assertNear(pixels, image, 5, green)
  assertNear(pixels, 2, 15, blue)
})

test('transparency becomes white, EXIF orientation is applied, 16 bits and CMYK become 8-bit RGB', async () => {
  const clear = await sharp({ create: { width: 8, height: 8, channels: 4, background: '#ff000000' } })
    .png()
    .toBuffer()
  const turned = await bands([red, blue], 12, 12).withMetadata({ orientation: 6 }).png().toBuffer()
  const deep = await bands([green], 12, 12).toColourspace('rgb16').png().toBuffer()
  const inks = await bands([blue], 12, 12).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer()
  assert.equal((await sharp(deep).metadata()).depth, 'ushort')
  assert.equal((await sharp(inks).metadata()).channels, 4)
  const { pixels } = await read(
    await createFolder({ 'a.png': clear, 'b.png': turned, 'c.png': deep, 'd.jpg': inks }),
  )
  assertNear(pixels, 0, 5, [255, 255, 255])
  // Orientation 6: the stored left edge is shown on top.
  assertNear(pixels, 1, 1, red)
  assertNear(pixels, 1, 13, blue)
  assertNear(pixels, 2, 5, green)
  const [r, g, b] = [0, 1, 2].map((channel) => pixels[(9 + channel) * 16 + 5]!) as [number, number, number]
  assert.ok(b > g && g > r, `CMYK blue became ${[r, g, b]}`)
})

test('images without any colour have one channel, whether stored as grey or RGB', async () => {
  const path = await createFolder({ 'a.png': await greyPng(90), 'b.png': await png([120, 120, 120]) })
  const { channels, pixels } = await read(path)
  assert.equal(channels, 1)
  assert.deepEqual([pixels[0], pixels[16], pixels.length], [90, 120, 32])
})

test('a grey file among colour files is an error unless channels is set', async () => {
  const path = await createFolder({
    'a.png': await png(red),
    'b.png': await greyPng(90),
    'c.png': await png(blue),
  })
  await assertUserError(
    read(path),
    /Some of the 3 images are grey .*\. Grey images: b\.png\. .*--channels 3.*--channels 1/,
  )
  const colour = await read(path, { channels: 3 })
  assertNear(colour.pixels, 1, 5, [90, 90, 90])
  const grey = await read(path, { channels: 1 })
  assert.equal(grey.pixels.length, 3 * 16)
  assert.equal(grey.pixels[16 + 5], 90)
  assert.ok(grey.pixels[5]! > red[1] && grey.pixels[5]! < red[0])
})

test('a colour file that shows only greys is read as colour, with a warning', async () => {
  const path = await createFolder({ 'a.png': await png(red), 'old.png': await png([90, 90, 90]) })
  const warnings: string[] = []
  const dataset = await read(path, { onWarning: (message) => warnings.push(message) })
  assert.equal(dataset.channels, 3)
  assert.match(warnings.join(), /only greys: old\.png/)
})

test('a warning is reported if a single subfolder contains the class folders', async () => {
  const path = await createFolder({ 'test/cats/a.png': await png(red), 'test/dogs/b.png': await png(green) })
  const warnings: string[] = []
  await read(path, { onWarning: (message) => warnings.push(message) })
  assert.ok(warnings.join().includes(`use ${join(path, 'test')} instead`))
})

test('progress reaches the total', async () => {
  const path = await createFolder({ 'a.png': await png(red), 'b.png': await png(green) })
  const progress: [number, number][] = []
  await read(path, { onProgress: (done, total) => progress.push([done, total]) })
  assert.deepEqual(progress, [
    [1, 2],
    [2, 2],
  ])
})

test('one unreadable image of 200 is skipped with a warning; the others retain their classes and pixels', async () => {
  const images = { cats: await png(red), dogs: await png(green) }
  const files = Object.entries(images).flatMap(([name, bytes]) =>
    Array.from({ length: 100 }, (_, i) => [`${name}/${String(i).padStart(3, '0')}.png`, bytes] as const),
  )
  const path = await createFolder({ ...Object.fromEntries(files), 'cats/050.png': '' })
  const warnings: string[] = []
  const { count, labels, pixels } = await read(path, { onWarning: (message) => warnings.push(message) })
  assert.equal(count, 199)
  assert.match(warnings.join(), /Skipped 1 of the 200 images.*: cats\/050\.png \(the file is empty\)\./)
  assert.deepEqual([...labels!], [...Array(99).fill(0), ...Array(100).fill(1)])
  for (const image of [0, 50, 98]) assertNear(pixels, image, 5, red)
  for (const image of [99, 198]) assertNear(pixels, image, 5, green)
  // Three are more than 1 %.
  await writeFile(join(path, 'dogs/001.png'), 'not a picture')
  await writeFile(join(path, 'dogs/002.png'), (await png(red)).subarray(0, 60))
  await assertUserError(
    read(path),
    /Cannot read 3 of the 200.*cats\/050.*dogs\/001\.png \(not an image \(it starts with "not a pictur"\)\).*dogs\/002.*Remove the files or convert them.*--skip-unreadable.*at most 1 %/,
  )
})

/** Creates 120 striped images of two classes and one unreadable file. Saturation 0 gives grey images stored as RGB. */
async function stripes(saturation: number): Promise<string> {
  const files = Array.from({ length: 120 }, async (_, i) => {
    const colours = [0, 1, 2, 3].map((k): Rgb => {
      const byte = (channel: number) => (i * 41 + k * 59 + channel * saturation * 83) % 256
      return [byte(0), byte(1), byte(2)]
    })
    return [
      `${i % 3 === 0 ? 'cats' : 'dogs'}/${i}.png`,
      await bands(colours, 16, 12).png().toBuffer(),
    ] as const
  })
  return createFolder({ ...Object.fromEntries(await Promise.all(files)), 'dogs/7.png': 'not a picture' })
}

for (const [what, saturation, channels] of [
  ['colour', 1, 'auto'],
  ['colour files that are grey', 0, 'auto'],
  ['colour converted to grey', 1, 1],
] as const) {
  test(`images beyond the cache are decoded on demand to the same bytes: ${what}`, async () => {
    const path = await stripes(saturation)
    const stored = (channels === 1 ? 1 : 3) * 16
    const whole = await read(path, { channels })
    const { train, validation } = split(whole, 0.2, 3)
    for (const cacheSize of [0, 50, 120]) {
      const warnings: string[] = []
      const cache = cacheSize * stored + stored - 1
      const part = await read(path, { channels, cache, onWarning: (warning) => warnings.push(warning) })
      const inMemory = part.pixels.length / part.channels / 16
      assert.equal(inMemory, cacheSize < 80 ? cacheSize : cacheSize - 1)
      assert.equal(part.files === undefined, cacheSize === 120)
      if (cacheSize < 120)
        assert.match(warnings.join(), new RegExp(`${inMemory} of the 119 images are cached`))
      const partial = split(part, 0.2, 3)
      for (const [actual, expected] of [
        [partial.train, train],
        [partial.validation, validation],
      ] as const) {
        assert.ok(actual.pixels.length <= cache)
        const backwards = Uint32Array.from({ length: expected.count }, (_, i) => expected.count - 1 - i)
        const gathered = await gather(actual, backwards)
        assert.deepEqual(gathered, await gather(expected, backwards))
        assert.deepEqual(gathered.labels!.toReversed(), expected.labels)
      }
    }
  })
}

test('the error names an image file that was deleted later', async () => {
  const path = await createFolder({ 'a.png': await png(red), 'b.png': await png(green) })
  const dataset = await read(path, { cache: 48 })
  await rm(join(path, 'b.png'))
  assertNear((await gather(dataset, Uint32Array.of(0))).pixels, 0, 5, red)
  await assertUserError(
    gather(dataset, Uint32Array.of(0, 1)),
    /Cannot read .*b\.png: ENOENT.* The file was readable when the training started\. Restore it/,
  )
})

test('the first frame of an animation is read, links are followed, pipes are ignored', {
  skip: process.platform === 'win32' && 'Windows has no pipes in folders',
}, async () => {
  const frames = await Promise.all([red, green].map((colour) => png(colour)))
  const animation = await sharp(frames, { join: { animated: true } })
    .webp({ lossless: true })
    .toBuffer()
  assert.equal((await sharp(animation).metadata()).pages, 2)
  const path = await createFolder({ 'a.webp': animation })
  await symlink(join(path, 'a.webp'), join(path, 'b.webp'))
  assert.equal(spawnSync('mkfifo', [join(path, 'c.png')]).status, 0)
  const { count, pixels } = await read(path)
  assert.equal(count, 2)
  for (const image of [0, 1]) assertNear(pixels, image, 5, red)
  await symlink(join(path, 'gone.webp'), join(path, 'd.webp'))
  await assertUserError(read(path), /Cannot read 1 of the 3 images.*d\.webp \(ENOENT.*--skip-unreadable/)
})

test('the error names every unreadable image', async () => {
  const whole = await bands([red, green], 64, 64).png().toBuffer()
  const cut = await bands([red, green, blue], 64, 64).jpeg().toBuffer()
  const path = await createFolder({
    'good.png': whole,
    'text.png': 'this is a text',
    'empty.jpg': '',
    'cut.jpg': cut.subarray(0, cut.length - 200),
  })
  await assertUserError(
    read(path),
    /3 of the 4 images.*cut\.jpg \(.*empty\.jpg \(the file is empty\).*text\.png \(not an image/,
  )
})

test('the error describes a single unreadable image', async () => {
  const path = await createFolder({ 'cat.png': 'Hello, world' })
  await assertUserError(
    read(path),
    /^Cannot read any of the 1 images in .*: cat\.png \(not an image \(it starts with "Hello, world"\)\)\. Remove the files or convert them to PNG/,
  )
  const binary = await createFolder({ 'cat.png': Buffer.from('0001fffe', 'hex') })
  await assertUserError(read(binary), /cat\.png \(not an image \(it starts with the bytes 0001fffe\)/)
})

test('images on two levels are rejected', async () => {
  const mixed = await createFolder({ 'a.png': await png(red), 'cats/b.png': await png(red) })
  await assertUserError(read(mixed), /mixes.*a\.png.*cats\/b\.png/)
})

test('GIF, AVIF and TIFF are read', async () => {
  const gif = await bands([red], 12, 12).gif().toBuffer()
  const avif = await bands([green], 12, 12).avif({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer()
  const tiff = await bands([blue], 12, 12).tiff().toBuffer()
  const { count, pixels } = await read(await createFolder({ 'a.gif': gif, 'b.avif': avif, 'c.TIF': tiff }))
  assert.equal(count, 3)
  for (const [image, colour] of [red, green, blue].entries()) assertNear(pixels, image, 5, colour)
})

test('at most 20 unreadable images are listed, and skipUnreadable trains on the others', async () => {
  const damaged = Array.from(
    { length: 23 },
    (_, i) => [`bad-${String(i).padStart(2, '0')}.png`, 'x'] as const,
  )
  const path = await createFolder({ ...Object.fromEntries(damaged), 'good.png': await png(green) })
  await assertUserError(read(path), /Cannot read 23 of the 24 images.*bad-00\.png.*bad-19\.png.* and 3 more/)
  const { count, pixels } = await read(path, { skipUnreadable: true })
  assert.equal(count, 1)
  assertNear(pixels, 0, 5, green)
  assert.match(await warningsOf(path, { skipUnreadable: true }), /Skipped 23 of the 24 images/)
})

test('copies and enlarged images are counted, with the number of useful images', async () => {
  const path = await createFolder({
    'a.png': await png(red),
    'b.webp': await bands([red], 20, 20).webp({ lossless: true }).toBuffer(),
    'small.png': await bands([blue, green], 3, 9).png().toBuffer(),
    'c.png': await png(green),
  })
  const warnings = await warningsOf(path)
  assert.match(warnings, /1 image is a copy of another at 4×4: b\.webp \(= a\.png\)\./)
  assert.match(warnings, /1 image is smaller than 4×4 and enlarged: small\.png\./)
  assert.match(warnings, /2 of the 4 images are useful\./)
  assert.match(warnings, /2 different images of sufficient size are few/)
})

test('images are scaled and cropped to a width and a height', async () => {
  const path = await createFolder({ 'a.png': await bands([red, green, blue, red], 40, 10).png().toBuffer() })
  const { width, height, pixels } = await read(path, { width: 8, height: 4 })
  assert.deepEqual([width, height, pixels.length], [8, 4, 3 * 32])
  // The middle half of the image: green, then blue.
  const colourAt = (pixel: number) => [0, 1, 2].map((channel) => pixels[channel * 32 + pixel]!)
  for (const [pixel, colour] of [
    [9, green],
    [14, blue],
  ] as const) {
    const difference = Math.max(...colourAt(pixel).map((byte, c) => Math.abs(byte - colour[c]!)))
    assert.ok(difference <= 8, `pixel ${pixel} is ${colourAt(pixel)}`)
  }
})

async function assertUserError(promise: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error) => {
    assert.ok(error instanceof UserError, error.stack)
    assert.match(error.message, message)
    return true
  })
}
