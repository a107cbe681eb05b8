import { open, readdir, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { UserError } from '@ddpm/shared'
import { isCifarBatch, readCifar } from './cifar.ts'
import { type Dataset, pad } from './dataset.ts'
import { type FolderOptions, readFolder } from './folder.ts'
import { isIdxImages, readIdx } from './idx.ts'
import { shapes, side } from './shapes-dataset.ts'

export interface OpenOptions extends Partial<FolderOptions> {
  /** For the sets that are made rather than read. */
  readonly seed: number
}

const defaultSize = 32
const defaultShapes = 4096
const mostShapes = 1_000_000
const accepted =
  'Give "shapes" (built in; "shapes:1000" for 1000 of them), a folder of PNG, JPEG or WebP pictures, MNIST-style IDX ' +
  'files (their folder or the images file), or CIFAR-10 binaries (their folder or one of the files).'

/** Whether a source is the set that the program makes itself. */
export function isBuiltIn(source: string): boolean {
  return source === 'shapes' || source.startsWith('shapes:')
}

/**
 * Opens pictures by what they turn out to be: the built-in set when `source` is `shapes` or `shapes:COUNT` (a
 * folder of that name is ./shapes), otherwise IDX files, CIFAR-10 binaries or a folder of pictures. `size`
 * scales and crops pictures of a folder (32 unless given) and pads the others.
 * @throws UserError when there is nothing of the kind there, or the options do not go with it
 */
export async function openData(source: string, options: OpenOptions): Promise<Dataset> {
  const { size, channels = 'auto' } = options
  if (size !== undefined && !(Number.isInteger(size) && size > 0)) {
    throw new UserError(`Found the size ${size}; expected a whole number of pixels, like 32.`)
  }
  if (isBuiltIn(source)) return openShapes(source, options)

  try {
    const format = await formatOf(source)
    if (format === 'cifar') {
      if (channels === 1) throw new UserError(`${source} is CIFAR-10, which is RGB; leave out --channels 1.`)
      const dataset = await readCifar(source)
      return size === undefined ? dataset : pad(dataset, size)
    }
    if (format === 'idx') {
      if (channels === 3)
        throw new UserError(`${source} is IDX, which holds grey pictures; leave out --channels 3.`)
      const dataset = await readIdx(source)
      return size === undefined ? dataset : pad(dataset, size)
    }
    return await readFolder(source, { ...options, size: size ?? defaultSize, channels })
  } catch (error) {
    if (isForeseen(error)) throw new UserError(`Cannot read ${source}: ${error.message}.`)
    throw error
  }
}

function openShapes(source: string, { size = side, channels = 3, seed }: OpenOptions): Dataset {
  const count = source === 'shapes' ? defaultShapes : Number(source.slice('shapes:'.length))
  if (!(Number.isInteger(count) && count >= 1 && count <= mostShapes)) {
    throw new UserError(`Found "${source}"; expected shapes:COUNT with a count from 1 to ${mostShapes}.`)
  }
  if (size !== side || channels === 1) {
    throw new UserError(
      `The built-in shapes are ${side}×${side} RGB; leave out --size and --channels or give ${side} and 3.`,
    )
  }
  return shapes(count, seed)
}

/** What a path holds, by the names of the files or the first bytes. */
async function formatOf(source: string): Promise<'idx' | 'cifar' | 'folder'> {
  const found = await stat(source).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
    throw new UserError(`There is no file or folder ${source}. ${accepted}`)
  })
  if (found.isDirectory()) {
    const names = await readdir(source)
    return names.some(isIdxImages) ? 'idx' : names.some(isCifarBatch) ? 'cifar' : 'folder'
  }
  if (isCifarBatch(basename(source))) return 'cifar'
  if (/idx\d-ubyte(\.gz)?$/.test(basename(source)) || (await startsAsIdx(source))) return 'idx'
  const packed = /\.(zip|tar|tgz|gz|7z|rar)$/.test(source)
    ? ' If the pictures are packed in it, unpack it first.'
    : ''
  throw new UserError(`${source} is a file, and not one of IDX images or of CIFAR-10.${packed} ${accepted}`)
}

async function startsAsIdx(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const head = Buffer.alloc(4)
    await file.read(head, 0, 4, 0)
    return head.toString('hex') === '00000803'
  } finally {
    await file.close()
  }
}

/** Errors of the system, and of Node where a file is larger than it reads at once. */
function isForeseen(error: unknown): error is NodeJS.ErrnoException {
  if (!(error instanceof Error)) return false
  return 'syscall' in error || (error as NodeJS.ErrnoException).code === 'ERR_FS_FILE_TOO_LARGE'
}
