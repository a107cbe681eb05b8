import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { UserError } from '@ddpm/shared'
import type { Dataset } from './dataset/dataset.ts'

const side = 32
const channels = 3
const pixelBytes = channels * side * side
/** A record is a label, followed by the red, green and blue planes. */
const recordBytes = 1 + pixelBytes
const batchName = /^(data_batch_\d+|test_batch)\.bin$/
const namesFile = 'batches.meta.txt'

/** Returns whether a file name is that of a CIFAR-10 batch. */
export function isCifarBatch(name: string): boolean {
  return batchName.test(name)
}

/**
 * Reads the binary version of CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html): 32×32 RGB, ten classes. The class
 * names are read from `batches.meta.txt` next to the files; without it, they are numbers.
 * @param path a file, or a folder with data_batch_1.bin …. Its test_batch.bin is only used if there are no other batches.
 * @throws UserError if a file is truncated or has an unknown label
 */
export async function readCifar(path: string): Promise<Dataset> {
  const isFolder = (await stat(path)).isDirectory()
  const folder = isFolder ? path : dirname(resolve(path))
  const files = isFolder ? await findBatches(path) : [path]
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
          `Invalid label ${label} at byte ${start} of ${files[k]}: expected 0 to ${classes.length - 1}. ` +
            'The file is damaged or not the binary version of CIFAR-10. Download it again.',
        )
      }
      labels[index] = label
      pixels.set(batch.subarray(start + 1, start + recordBytes), index * pixelBytes)
    }
  }
  const name = basename(resolve(folder))
  return { name, channels, height: side, width: side, count, classes, pixels, labels }
}

async function findBatches(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter(isCifarBatch).sort()
  const training = names.filter((name) => name.startsWith('data'))
  return (training.length > 0 ? training : names).map((name) => join(folder, name))
}

async function readBatch(path: string): Promise<Buffer> {
  const file = await readFile(path)
  if (file.length > 0 && file.length % recordBytes === 0) return file
  throw new UserError(
    `${path} is truncated or not the binary version of CIFAR-10: expected a multiple of ${recordBytes} bytes ` +
      `(one label and 32×32 RGB pixels per image), got ${file.length}. Download it again.`,
  )
}

async function classNames(folder: string): Promise<string[]> {
  const path = join(folder, namesFile)
  if (!existsSync(path)) return Array.from({ length: 10 }, (_, label) => String(label))
  const text = await readFile(path, 'utf8')
  const names = text.split(/\r?\n/).filter((line) => line !== '')
  if (names.length > 0) return names
  throw new UserError(
    `${path} contains no class names: expected one per line. Download the file again, or remove it.`,
  )
}
