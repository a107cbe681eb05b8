import { uniforms } from '@ddpm/shared'
import sharp, { type Sharp } from 'sharp'

/**
 * Creates RGB bytes [3, side, side] of random coloured waves: smooth like photographs, and no two images are alike.
 * @param index images of different indices are independent
 */
export function waves(index: number, side: number): Uint8Array {
  const random = uniforms(99, { domain: 0, image: index, step: 0 }, 60)
  const pixels = new Float32Array(3 * side * side).fill(128)
  for (let wave = 0; wave < 12; wave++) {
    const [fx, fy, phase, amplitude, channel] = random.subarray(5 * wave, 5 * wave + 5) as unknown as number[]
    const plane = Math.floor(3 * channel!) * side * side
    for (let p = 0; p < side * side; p++) {
      const [x, y] = [(p % side) / side, Math.floor(p / side) / side]
      pixels[plane + p]! +=
        60 * amplitude! * Math.sin(2 * Math.PI * (3 * (fx! - 0.5) * x + 3 * (fy! - 0.5) * y + phase!))
    }
  }
  return Uint8Array.from(pixels, (value) => Math.min(255, Math.max(0, value)))
}

/** Converts bytes [3, side, side] to an image that sharp can encode. */
export function toSharp(pixels: Uint8Array, side: number): Sharp {
  const area = side * side
  const interleaved = Uint8Array.from(
    { length: 3 * area },
    (_, i) => pixels[(i % 3) * area + Math.floor(i / 3)]!,
  )
  return sharp(interleaved, { raw: { width: side, height: side, channels: 3 } })
}

/** Decodes an image file to bytes [3, side, side]. */
export async function fromFile(file: Buffer): Promise<Uint8Array> {
  const interleaved = await sharp(file).raw().toBuffer()
  const area = interleaved.length / 3
  return Uint8Array.from({ length: 3 * area }, (_, i) => interleaved[(i % area) * 3 + Math.floor(i / area)]!)
}
