/**
 * Combines PNG files into an animated PNG (PNG 3rd edition, section 11.3.6). The compressed data of the files is copied
 * unchanged, so the browser's own encoder does the compression. The npm packages for APNG are unmaintained.
 */

const signature = [137, 80, 78, 71, 13, 10, 26, 10]

interface Chunk {
  readonly type: string
  readonly data: Uint8Array
}

export interface PngFrame {
  /** A PNG file. */
  readonly png: Uint8Array
  /** Duration of the frame. */
  readonly milliseconds: number
}

/**
 * Encodes an animated PNG that repeats forever.
 * @param frames PNG files of the same size and pixel format
 * @throws Error if the frames differ in size or pixel format
 */
export function encodeApng(frames: readonly PngFrame[]): Uint8Array<ArrayBuffer> {
  const files = frames.map(({ png }) => parseChunks(png))
  const header = files[0]!.find(({ type }) => type === 'IHDR')!
  if (files.some((chunks) => chunks[0]!.data.some((byte, i) => byte !== header.data[i]))) {
    throw new Error('Invalid frames: expected PNG files of one size and one pixel format.')
  }
  const out: Chunk[] = [header, { type: 'acTL', data: integers([frames.length, 4], [0, 4]) }]
  const size = [...header.data.slice(0, 8)]
  let sequence = 0
  for (const [i, chunks] of files.entries()) {
    const control = [
      ...bigEndian(sequence++, 4),
      ...size,
      ...bigEndian(0, 8),
      ...bigEndian(frames[i]!.milliseconds, 2),
      ...bigEndian(1000, 2),
      0,
      0,
    ]
    out.push({ type: 'fcTL', data: Uint8Array.from(control) })
    for (const { data } of chunks.filter(({ type }) => type === 'IDAT')) {
      // Viewers without support for APNG show the IDAT chunks, here the first frame.
      if (i === 0) out.push({ type: 'IDAT', data })
      else out.push({ type: 'fdAT', data: concat([integers([sequence++, 4]), data]) })
    }
  }
  out.push({ type: 'IEND', data: new Uint8Array() })
  return concat([Uint8Array.from(signature), ...out.map(serialize)])
}

/**
 * Splits a PNG file into its chunks.
 * @throws Error if it is not a PNG file
 */
export function parseChunks(png: Uint8Array): Chunk[] {
  if (signature.some((byte, i) => png[i] !== byte))
    throw new Error('Invalid PNG file: expected the PNG signature.')
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength)
  const chunks: Chunk[] = []
  for (let offset = 8; offset < png.length; ) {
    const length = view.getUint32(offset)
    const type = String.fromCharCode(...png.subarray(offset + 4, offset + 8))
    chunks.push({ type, data: png.subarray(offset + 8, offset + 8 + length) })
    offset += length + 12
  }
  return chunks
}

function serialize({ type, data }: Chunk): Uint8Array {
  const body = concat([Uint8Array.from(type, (c) => c.charCodeAt(0)), data])
  return concat([integers([data.length, 4]), body, integers([crc32(body), 4])])
}

function bigEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256)
}

/** Encodes big-endian integers, each with its number of bytes. */
function integers(...parts: readonly (readonly [value: number, bytes: number])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap(([value, bytes]) => bigEndian(value, bytes)))
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const part of parts) {
    result.set(part, offset)
    offset += part.length
  }
  return result
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

/** Computes the CRC-32 of ISO 3309 (PNG, appendix D). */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 255]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}
