import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'
import sharp from 'sharp'
import { animate, chunksOf, crc32 } from './apng.ts'

/** A PNG of one colour, as another program writes it. */
function still(colour: string, side = 6): Promise<Buffer> {
  return sharp({ create: { width: side, height: side, channels: 4, background: colour } })
    .png({ palette: false })
    .toBuffer()
}

test('the checksum is that of PNG', () => {
  // The check value of CRC-32/ISO-HDLC, and the one that ends every PNG file.
  assert.equal(crc32(Uint8Array.from('123456789', (c) => c.charCodeAt(0))), 0xcbf43926)
  assert.equal(crc32(Uint8Array.from('IEND', (c) => c.charCodeAt(0))), 0xae426082)
})

test('an animation is a PNG of its first frame, and holds the others as they were', async () => {
  const stills = await Promise.all(['#ff0000', '#00ff00', '#0000ff'].map((colour) => still(colour)))
  const moving = animate(stills.map((png, i) => ({ png, milliseconds: 40 + i })))
  const first = await sharp(moving).raw().toBuffer({ resolveWithObject: true })
  assert.deepEqual([...first.data.subarray(0, 4)], [255, 0, 0, 255])
  assert.equal(first.info.height, 6)

  const chunks = chunksOf(moving)
  const order = chunks.map(({ type }) => type)
  assert.deepEqual(order, ['IHDR', 'acTL', 'fcTL', 'IDAT', 'fcTL', 'fdAT', 'fcTL', 'fdAT', 'IEND'])
  const numbers = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength)
  assert.deepEqual(
    [0, 4].map((at) => numbers(chunks[1]!.data).getUint32(at)),
    [3, 0],
  )
  const sequence = chunks
    .filter(({ type }) => /fcTL|fdAT/.test(type))
    .map(({ data }) => numbers(data).getUint32(0))
  assert.deepEqual(sequence, [0, 1, 2, 3, 4])
  const delays = chunks.filter(({ type }) => type === 'fcTL').map(({ data }) => numbers(data).getUint16(20))
  assert.deepEqual(delays, [40, 41, 42])
  const last = chunks.findLast(({ type }) => type === 'fdAT')!
  const original = Buffer.concat(
    chunksOf(stills[2]!).flatMap(({ type, data }) => (type === 'IDAT' ? [data] : [])),
  )
  assert.deepEqual(inflateSync(last.data.subarray(4)), inflateSync(original))
})

test('frames of different sizes are refused', async () => {
  const frames = [await still('red'), await still('red', 7)].map((png) => ({ png, milliseconds: 50 }))
  assert.throws(() => animate(frames), /one size/)
})
