import { open, readdir, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type BuiltInName, builtInNameOf, builtInNames, builtInSets, createBuiltIn } from './built-in.ts'
import { isCifarBatch, readCifar } from './cifar.ts'
import { type Dataset, pad } from './dataset/dataset.ts'
import { parseSize, type Size, type SizeText } from './dataset/size.ts'
import { type FolderOptions, readFolder } from './folder/folder.ts'
import { imageFormats } from './folder/listing.ts'
import { isIdxImages, readIdx } from './idx.ts'

export interface OpenOptions extends Partial<Omit<FolderOptions, keyof Size>> {
  /** Size of the images. Folders: scaled and cropped to it (default: 32). Other formats: padded to it. */
  readonly size?: SizeText | undefined
  /** Names of the classes of IDX files, in the order of their labels. Default: the numbers. */
  readonly classNames?: readonly string[] | undefined
  /** Seed of the built-in sets. */
  readonly seed: number
}

const defaultSize = 32
const validSources =
  `Use ${builtInNames.map((name) => `"${name}"`).join(' or ')} (built in; "faces:1000" for 1000 images), a folder of ${imageFormats} images, MNIST-style IDX ` +
  'files (their folder or the images file), or CIFAR-10 binaries (their folder or one of the files).'

/**
 * Opens a dataset and detects its format. `shapes`, `faces` and `faces:COUNT` are built-in sets; write ./faces for a folder
 * of that name. Other sources are IDX files, CIFAR-10 binaries or a folder of images.
 * @throws UserError if the source does not exist or has no known format, or if the options do not match the format
 */
export async function openData(source: string, options: OpenOptions): Promise<Dataset> {
  const { channels = 'auto', classNames } = options
  const size = options.size === undefined ? null : parseSize(options.size)
  const builtIn = builtInNameOf(source)
  if (builtIn !== null) return openBuiltIn(builtIn, source, options)

  try {
    const format = await formatOf(source)
    if (format === 'cifar') {
      if (channels === 1)
        throw new UserError(`Invalid --channels 1: ${source} is CIFAR-10, which is RGB. Use --channels auto.`)
      const dataset = await readCifar(source)
      return size === null ? dataset : pad(dataset, size)
    }
    if (format === 'idx') {
      if (channels === 3)
        throw new UserError(`Invalid --channels 3: ${source} is IDX, which is grey. Use --channels auto.`)
      const dataset = withClassNames(await readIdx(source), classNames)
      return size === null ? dataset : pad(dataset, size)
    }
    return await readFolder(source, { ...options, ...(size ?? parseSize(defaultSize)), channels })
  } catch (error) {
    if (isSystemError(error)) throw new UserError(`Cannot read ${source}: ${error.message}.`)
    throw error
  }
}

function openBuiltIn(
  name: BuiltInName,
  source: string,
  { size = builtInSets[name].side, channels = 3, seed }: OpenOptions,
): Promise<Dataset> {
  const { side } = builtInSets[name]
  if (size !== side || channels === 1) {
    throw new UserError(
      `Invalid --size or --channels: the built-in ${name} are ${side}×${side} RGB. ` +
        `Remove --size and --channels, or set them to ${side} and 3.`,
    )
  }
  return createBuiltIn(name, source, seed)
}

/** @throws UserError if the number of names is not that of the classes */
function withClassNames(dataset: Dataset, names: readonly string[] | undefined): Dataset {
  if (names === undefined) return dataset
  const { length } = dataset.classes
  if (names.length !== length || new Set(names).size !== length) {
    throw new UserError(
      `Invalid --class-names "${names.join(',')}": expected ${length} different names, one for each label of ` +
        `${dataset.name}, got ${names.length}.`,
    )
  }
  return { ...dataset, classes: names }
}

/** Detects the format of a path from file names or the first bytes. */
async function formatOf(source: string): Promise<'idx' | 'cifar' | 'folder'> {
  const entry = await stat(source).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
    throw new UserError(`Cannot find ${source}: no such file or folder. ${validSources}`)
  })
  if (entry.isDirectory()) {
    const names = await readdir(source)
    return names.some(isIdxImages) ? 'idx' : names.some(isCifarBatch) ? 'cifar' : 'folder'
  }
  if (isCifarBatch(basename(source))) return 'cifar'
  if (/idx\d-ubyte(\.gz)?$/.test(basename(source)) || (await startsLikeIdx(source))) return 'idx'
  const advice = /\.(zip|tar|tgz|gz|7z|rar)$/.test(source) ? ' If it is an archive, unpack it first.' : ''
  throw new UserError(`${source} is a file, but neither IDX images nor CIFAR-10.${advice} ${validSources}`)
}

async function startsLikeIdx(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const head = Buffer.alloc(4)
    await file.read(head, 0, 4, 0)
    return head.toString('hex') === '00000803'
  } finally {
    await file.close()
  }
}

/** Returns whether an error is from the operating system, or from Node because a file is larger than its limit. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  if (!(error instanceof Error)) return false
  return 'syscall' in error || (error as NodeJS.ErrnoException).code === 'ERR_FS_FILE_TOO_LARGE'
}
