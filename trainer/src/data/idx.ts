import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { UserError } from '@ddpm/shared'
import type { Dataset } from './dataset/dataset.ts'

/** Both spellings are in use: train-images-idx3-ubyte and train-images.idx3-ubyte. */
const imagesName = /images[-.]idx3-ubyte(\.gz)?$/
/** Type code of unsigned bytes in the magic number. */
const unsignedByte = 0x08

/**
 * Reads grey images in MNIST's IDX format (https://yann.lecun.com/exdb/mnist), plain or gzipped. Labels are read from
 * `…-labels-idx1-ubyte` in the same folder as `…-images-idx3-ubyte`. Without that file the images have no labels.
 * @param path an images file, or a folder with images files. Files whose name starts with `train` are preferred.
 * @throws UserError if a file is missing, damaged or not IDX, or if the two files do not match
 */
export async function readIdx(path: string): Promise<Dataset> {
  const imagesPath = (await stat(path)).isDirectory() ? join(path, await findImages(path)) : path
  const images = await readArray(imagesPath, ['images', 'rows', 'columns'])
  const [count, height, width] = images.shape as [number, number, number]
  if (count * height * width === 0) {
    throw new UserError(
      `${imagesPath} is empty: it has ${count} images of ${width}×${height}. Use another file.`,
    )
  }

  const labelsPath = findLabels(imagesPath)
  const labels = labelsPath ? await readArray(labelsPath, ['labels']) : null
  if (labels && labels.bytes.length !== count) {
    throw new UserError(
      `${imagesPath} has ${count} images, but ${labelsPath} has ${labels.bytes.length} labels. ` +
        'Use the two files of the same set, or remove the labels file to train without classes.',
    )
  }
  const maxLabel = labels ? labels.bytes.reduce((a, b) => Math.max(a, b), 0) : -1
  return {
    name: basename(dirname(resolve(imagesPath))),
    channels: 1,
    height,
    width,
    count,
    classes: Array.from({ length: maxLabel + 1 }, (_, label) => String(label)),
    pixels: images.bytes,
    labels: labels && Uint16Array.from(labels.bytes),
  }
}

/** Returns whether a file name is that of IDX images. */
export function isIdxImages(name: string): boolean {
  return imagesName.test(name)
}

async function findImages(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter(isIdxImages).sort()
  const name = names.find((name) => name.startsWith('train')) ?? names[0]
  if (name) return name
  throw new UserError(
    `Cannot find IDX images in ${folder}: expected train-images-idx3-ubyte or train-images-idx3-ubyte.gz.`,
  )
}

function findLabels(imagesPath: string): string | undefined {
  const name = basename(imagesPath)
  if (!isIdxImages(name)) return undefined
  const plain = name.replace(/\.gz$/, '').replace(/images([-.])idx3/, 'labels$1idx1')
  return [plain, `${plain}.gz`]
    .map((name) => join(dirname(imagesPath), name))
    .find((path) => existsSync(path))
}

/**
 * Reads an IDX array.
 * @param axes name of each expected dimension, for messages
 */
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
      `Invalid IDX file ${path}: expected the magic number ${hex(expectedMagic)} (unsigned bytes, ` +
        `${axes.length === 1 ? 'one dimension' : `${axes.length} dimensions`}: ${axes.join(', ')}), got ${hex(magic)}. ` +
        'Use a file in the format of MNIST.',
    )
  }
  if (file.length < header) throw truncated(path, file.length, `a header of ${header} bytes`)

  const shape = axes.map((_, axis) => file.readUInt32BE(4 + 4 * axis))
  const expected = header + shape.reduce((product, extent) => product * extent, 1)
  const described = shape.map((extent, axis) => `${extent} ${axes[axis]}`).join(' × ')
  if (file.length < expected) throw truncated(path, file.length, `${expected} bytes for ${described}`)
  if (file.length > expected) {
    throw new UserError(
      `Invalid IDX file ${path}: expected ${expected} bytes for ${described}, got ${file.length}. Download it again.`,
    )
  }
  return { shape, bytes: file.subarray(header) }
}

async function readMaybeGzipped(path: string): Promise<Buffer> {
  const file = await readFile(path)
  const isGzip = file[0] === 0x1f && file[1] === 0x8b
  if (!isGzip && path.endsWith('.gz')) {
    throw new UserError(
      `Invalid gzip file ${path}: expected the first bytes 1f8b, got ${file.subarray(0, 2).toString('hex') || 'nothing'}. ` +
        'Download it again, or remove .gz from its name if it is already unpacked.',
    )
  }
  if (!isGzip) return file
  try {
    return await promisify(gunzip)(file)
  } catch (error) {
    throw new UserError(
      `Cannot unpack ${path}: ${(error as Error).message} (${file.length} bytes). The file is truncated or damaged. ` +
        'Download it again.',
    )
  }
}

function truncated(path: string, actual: number, expected: string): UserError {
  return new UserError(`${path} is truncated: expected ${expected}, got ${actual} bytes. Download it again.`)
}

function hex(word: number): string {
  return `0x${word.toString(16).padStart(8, '0')}`
}
