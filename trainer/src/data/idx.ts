import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { UserError } from '@ddpm/shared'
import type { Dataset } from './dataset.ts'

/** Both spellings are about: train-images-idx3-ubyte and train-images.idx3-ubyte. */
const imagesName = /images[-.]idx3-ubyte(\.gz)?$/
const unsignedByte = 0x08

/**
 * Reads grey pictures in MNIST's IDX format (https://yann.lecun.com/exdb/mnist), plain or gzipped, with the
 * labels that lie beside them: `…-images-idx3-ubyte` belongs to `…-labels-idx1-ubyte`. Without such a file
 * they are unlabelled.
 * @param path an images file, or a folder with one; of several, the one whose name starts with `train`
 * @throws UserError when a file is missing, no gzip, no IDX, truncated, or does not belong to the other
 */
export async function readIdx(path: string): Promise<Dataset> {
  const imagesPath = (await stat(path)).isDirectory() ? join(path, await imagesIn(path)) : path
  const images = await readArray(imagesPath, ['pictures', 'rows', 'columns'])
  const [count, height, width] = images.shape as [number, number, number]
  if (count * height * width === 0) {
    throw new UserError(`${imagesPath} holds ${count} pictures of ${width}×${height}; expected at least one.`)
  }

  const labelsPath = labelsBeside(imagesPath)
  const labels = labelsPath ? await readArray(labelsPath, ['labels']) : null
  if (labels && labels.bytes.length !== count) {
    throw new UserError(
      `${imagesPath} holds ${count} pictures, but ${labelsPath} ${labels.bytes.length} labels; expected as many. ` +
        'Put two files together that belong together, or take the labels away to train without classes.',
    )
  }
  const highest = labels ? labels.bytes.reduce((a, b) => Math.max(a, b), 0) : -1
  return {
    name: basename(dirname(resolve(imagesPath))),
    channels: 1,
    height,
    width,
    count,
    classes: Array.from({ length: highest + 1 }, (_, label) => String(label)),
    pixels: images.bytes,
    labels: labels && Uint16Array.from(labels.bytes),
  }
}

/** Whether a file of this name is meant as IDX images. */
export function isIdxImages(name: string): boolean {
  return imagesName.test(name)
}

async function imagesIn(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter(isIdxImages).sort()
  const name = names.find((name) => name.startsWith('train')) ?? names[0]
  if (name) return name
  throw new UserError(
    `Found no IDX images in the folder ${folder}; expected train-images-idx3-ubyte or train-images-idx3-ubyte.gz.`,
  )
}

function labelsBeside(imagesPath: string): string | undefined {
  const name = basename(imagesPath)
  if (!isIdxImages(name)) return undefined
  const plain = name.replace(/\.gz$/, '').replace(/images([-.])idx3/, 'labels$1idx1')
  return [plain, `${plain}.gz`]
    .map((name) => join(dirname(imagesPath), name))
    .find((path) => existsSync(path))
}

/** @param axes what each dimension counts, for messages; their number is the number of dimensions expected */
async function readArray(
  path: string,
  axes: readonly string[],
): Promise<{ shape: readonly number[]; bytes: Uint8Array }> {
  const file = await readMaybeGzipped(path)
  const header = 4 + 4 * axes.length
  const magic = file.length >= 4 ? file.readUInt32BE(0) : null
  const expectedMagic = (unsignedByte << 8) | axes.length
  if (magic !== null && magic !== expectedMagic) {
    throw new UserError(
      `${path} starts with ${hex(magic)}; expected ${hex(expectedMagic)}, IDX with unsigned bytes and ` +
        `${axes.length === 1 ? 'one dimension' : `${axes.length} dimensions`} (${axes.join(', ')}). ` +
        'Give a file in MNIST’s format.',
    )
  }
  if (file.length < header) throw truncated(path, file.length, `${header} for the header`)

  const shape = axes.map((_, axis) => file.readUInt32BE(4 + 4 * axis))
  const expected = header + shape.reduce((product, extent) => product * extent, 1)
  const described = shape.map((extent, axis) => `${extent} ${axes[axis]}`).join(' × ')
  if (file.length < expected) throw truncated(path, file.length, `${expected} for ${described}`)
  if (file.length > expected) {
    throw new UserError(
      `${path} has ${file.length} bytes; expected ${expected} for ${described}. It is not the IDX file that ` +
        'its header describes; fetch it again.',
    )
  }
  return { shape, bytes: file.subarray(header) }
}

async function readMaybeGzipped(path: string): Promise<Buffer> {
  const file = await readFile(path)
  const isGzip = file[0] === 0x1f && file[1] === 0x8b
  if (!isGzip && path.endsWith('.gz')) {
    throw new UserError(
      `${path} is not gzip: it starts with ${file.subarray(0, 2).toString('hex') || 'nothing'}, expected 1f8b. ` +
        'Fetch it again, or take .gz off its name if it is already unpacked.',
    )
  }
  if (!isGzip) return file
  try {
    return await promisify(gunzip)(file)
  } catch (error) {
    throw new UserError(
      `${path} cannot be unpacked (${(error as Error).message}; ${file.length} bytes). It is truncated or damaged; ` +
        'fetch it again.',
    )
  }
}

function truncated(path: string, found: number, expected: string): UserError {
  return new UserError(`${path} is truncated: found ${found} bytes, expected ${expected}. Fetch it again.`)
}

function hex(word: number): string {
  return `0x${word.toString(16).padStart(8, '0')}`
}
