/**
 * A moving PNG made of still ones: the frames' own compressed data is taken over as it is, so that the browser's encoder
 * does the work. (APNG as in PNG 3rd edition, section 11.3.6; the packages that encode it have been left alone for years.)
 */

const signature = [137, 80, 78, 71, 13, 10, 26, 10]

interface Chunk {
  readonly type: string
  readonly data: Uint8Array
}

export interface FramePng {
  readonly png: Uint8Array
  /** How long it is shown. */
  readonly milliseconds: number
}

/**
 * @param frames PNG files of one size and one kind of pixel
 * @returns an APNG that repeats for ever
 */
export function animate(frames: readonly FramePng[]): Uint8Array<ArrayBuffer> {
  const files = frames.map(({ png }) => chunksOf(png))
  const head = files[0]!.find(({ type }) => type === 'IHDR')!
  if (files.some((chunks) => chunks[0]!.data.some((byte, i) => byte !== head.data[i]))) {
    throw new Error('The frames of a moving PNG are of one size and one kind.')
  }
  const out: Chunk[] = [head, { type: 'acTL', data: numbers([frames.length, 4], [0, 4]) }]
  const size = [...head.data.slice(0, 8)]
  let sequence = 0
  for (const [i, chunks] of files.entries()) {
    const control = [
      ...be(sequence++, 4),
      ...size,
      ...be(0, 8),
      ...be(frames[i]!.milliseconds, 2),
      ...be(1000, 2),
      0,
      0,
    ]
    out.push({ type: 'fcTL', data: Uint8Array.from(control) })
    for (const { data } of chunks.filter(({ type }) => type === 'IDAT')) {
      // The first frame is what viewers without animation show, too.
      if (i === 0) out.push({ type: 'IDAT', data })
      else out.push({ type: 'fdAT', data: joined([numbers([sequence++, 4]), data]) })
    }
  }
  out.push({ type: 'IEND', data: new Uint8Array() })
  return joined([Uint8Array.from(signature), ...out.map(written)])
}

/** The chunks of a PNG file. */
export function chunksOf(png: Uint8Array): Chunk[] {
  if (signature.some((byte, i) => png[i] !== byte)) throw new Error('This is no PNG file.')
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength)
  const chunks: Chunk[] = []
  for (let at = 8; at < png.length; ) {
    const length = view.getUint32(at)
    const type = String.fromCharCode(...png.subarray(at + 4, at + 8))
    chunks.push({ type, data: png.subarray(at + 8, at + 8 + length) })
    at += length + 12
  }
  return chunks
}

function written({ type, data }: Chunk): Uint8Array {
  const named = joined([Uint8Array.from(type, (c) => c.charCodeAt(0)), data])
  return joined([numbers([data.length, 4]), named, numbers([crc32(named), 4])])
}

function be(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256)
}

/** Big-endian numbers of so many bytes each. */
function numbers(...parts: readonly (readonly [value: number, bytes: number])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap(([value, bytes]) => be(value, bytes)))
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

/** CRC-32 of ISO 3309, as PNG has it (appendix D). */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 255]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}
