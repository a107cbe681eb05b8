import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'
import sharp from 'sharp'
import { crc32, encodeApng, parseChunks } from './apng.ts'

/** A PNG file of one colour, written by an independent encoder. */
function pngOf(colour: string, side = 6): Promise<Buffer> {
  return sharp({ create: { width: side, height: side, channels: 4, background: colour } })
    .png({ palette: false })
    .toBuffer()
}

test('crc32 computes the checksum of PNG', () => {
  // The check value of CRC-32/ISO-HDLC, and the checksum at the end of every PNG file.
  assert.equal(crc32(Uint8Array.from('123456789', (c) => c.charCodeAt(0))), 0xcbf43926)
  assert.equal(crc32(Uint8Array.from('IEND', (c) => c.charCodeAt(0))), 0xae426082)
})

test('an animation decodes as its first frame and contains the data of the others unchanged', async () => {
  const pngs = await Promise.all(['#ff0000', '#00ff00', '#0000ff'].map((colour) => pngOf(colour)))
  const animation = encodeApng(pngs.map((png, i) => ({ png, milliseconds: 40 + i })))
  const first = await sharp(animation).raw().toBuffer({ resolveWithObject: true })
  assert.deepEqual([...first.data.subarray(0, 4)], [255, 0, 0, 255])
  assert.equal(first.info.height, 6)

  const chunks = parseChunks(animation)
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
    parseChunks(pngs[2]!).flatMap(({ type, data }) => (type === 'IDAT' ? [data] : [])),
  )
  assert.deepEqual(inflateSync(last.data.subarray(4)), inflateSync(original))
})

test('frames of different sizes are rejected', async () => {
  const frames = [await pngOf('red'), await pngOf('red', 7)].map((png) => ({ png, milliseconds: 50 }))
  assert.throws(() => encodeApng(frames), /one size/)
})
