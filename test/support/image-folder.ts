import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import sharp, { type Sharp } from 'sharp'

const scratch = await mkdtemp(join(tmpdir(), 'folder-'))
after(() => rm(scratch, { recursive: true }))
let folders = 0

export type Rgb = readonly [number, number, number]
export const red: Rgb = [200, 30, 40]
export const green: Rgb = [30, 190, 60]
export const blue: Rgb = [20, 60, 210]

/** Creates a temporary folder with these files. It is removed after the tests. */
export async function createFolder(files: Record<string, Uint8Array | string>): Promise<string> {
  const path = join(scratch, String(folders++))
  await mkdir(path)
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true })
    await writeFile(join(path, name), bytes)
  }
  return path
}

/** Creates an image of vertical bands of equal width. */
export function bands(colours: readonly Rgb[], width: number, height: number): Sharp {
  const data = Buffer.alloc(3 * width * height)
  for (let at = 0; at < width * height; at++) {
    data.set(colours[Math.floor(((at % width) * colours.length) / width)]!, 3 * at)
  }
  return sharp(data, { raw: { width, height, channels: 3 } })
}

/** Creates a PNG file of one colour, 12×12. */
export const png = (colour: Rgb) => bands([colour], 12, 12).png().toBuffer()
