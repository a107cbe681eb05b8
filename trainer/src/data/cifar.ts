import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { UserError } from '@ddpm/shared'
import type { Dataset } from './dataset.ts'

const side = 32
const channels = 3
const pixelBytes = channels * side * side
/** A label, then the red, green and blue planes. */
const recordBytes = 1 + pixelBytes
const batchName = /^(data_batch_\d+|test_batch)\.bin$/
const namesFile = 'batches.meta.txt'

/** Whether a file of this name is meant as CIFAR-10 pictures. */
export function isCifarBatch(name: string): boolean {
  return batchName.test(name)
}

/**
 * Reads CIFAR-10's binary version (https://www.cs.toronto.edu/~kriz/cifar.html): 32×32 RGB with ten classes, named in
 * `batches.meta.txt` beside the files, by number where it is missing.
 * @param path a file, or a folder with data_batch_1.bin …; its test_batch.bin is left out where there are others
 * @throws UserError when a file is truncated or has a label without a class
 */
export async function readCifar(path: string): Promise<Dataset> {
  const isFolder = (await stat(path)).isDirectory()
  const folder = isFolder ? path : dirname(resolve(path))
  const files = isFolder ? await batchesIn(path) : [path]
  const batches = await Promise.all(files.map(readBatch))
  const count = batches.reduce((sum, batch) => sum + batch.length / recordBytes, 0)

  const classes = await classNames(folder)
  const pixels = new Uint8Array(count * pixelBytes)
  const labels = new Uint16Array(count)
  let index = 0
  for (const [k, batch] of batches.entries()) {
    for (let start = 0; start < batch.length; start += recordBytes, index++) {
      const label = batch[start]!
      if (label >= classes.length) {
        throw new UserError(
          `${files[k]} has the label ${label} at byte ${start}; expected 0 to ${classes.length - 1}. ` +
            'It is not CIFAR-10’s binary version, or damaged; fetch it again.',
        )
      }
      labels[index] = label
      pixels.set(batch.subarray(start + 1, start + recordBytes), index * pixelBytes)
    }
  }
  const name = basename(resolve(folder))
  return { name, channels, height: side, width: side, count, classes, pixels, labels }
}

async function batchesIn(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter(isCifarBatch).sort()
  const training = names.filter((name) => name.startsWith('data'))
  return (training.length > 0 ? training : names).map((name) => join(folder, name))
}

async function readBatch(path: string): Promise<Buffer> {
  const file = await readFile(path)
  if (file.length > 0 && file.length % recordBytes === 0) return file
  throw new UserError(
    `${path} is truncated, or not CIFAR-10’s binary version: found ${file.length} bytes, expected a multiple of ` +
      `${recordBytes}, one label and 32×32 RGB pixels per picture. Fetch it again.`,
  )
}

async function classNames(folder: string): Promise<string[]> {
  const path = join(folder, namesFile)
  if (!existsSync(path)) return Array.from({ length: 10 }, (_, label) => String(label))
  const text = await readFile(path, 'utf8')
  const names = text.split(/\r?\n/).filter((line) => line !== '')
  if (names.length > 0) return names
  throw new UserError(`${path} names no classes; expected a name per line. Fetch it again, or remove it.`)
}
