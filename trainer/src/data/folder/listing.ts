import { type Dirent, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, extname, join, relative, sep } from 'node:path'
import { UserError } from '@ddpm/shared'
import { metadataNames } from './metadata.ts'

/** Extensions of the formats that sharp decodes. */
export const imageExtensions = ['.png', '.jpg', '.jpeg', '.webp', '.gif', '.avif', '.tif', '.tiff']
export const imageFormats = 'PNG, JPEG, WebP, GIF, AVIF or TIFF'

/** Files that systems create by themselves. They are ignored without a warning. */
const isJunk = (path: string) =>
  /(^|\/)(\.[^/]*|__MACOSX|Thumbs\.db|ehthumbs\.db|desktop\.ini)(\/|$)/i.test(path)

/** Decoding HEIC needs a patent licence, so sharp is built without it. */
const heicHint =
  'HEIC cannot be read. Convert the files to JPEG, for example with ImageMagick: magick mogrify -format jpg *.heic'

/**
 * Lists the images below a folder: relative paths with slashes, sorted the same way on every machine. Links are followed.
 * @throws UserError if there are none
 */
export async function listImages(folder: string, onWarning: (message: string) => void): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    // Reading a pipe or a device would block.
    .filter((entry) => entry.isFile() || (entry.isSymbolicLink() && !isFolderOrDevice(entry)))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((path) => !isJunk(path) && !metadataNames.includes(path))
    .sort()
  const images = files.filter((path) => imageExtensions.includes(typeOf(path)))
  const others = files.filter((path) => !imageExtensions.includes(typeOf(path)))
  const hasHeic = others.some((path) => ['.heic', '.heif'].includes(typeOf(path)))
  if (images.length === 0) {
    const content = others.length === 0 ? 'the folder is empty' : `it contains only ${countTypes(others)}`
    throw new UserError(
      `Cannot find images in ${folder}: ${content}. ` +
        (hasHeic
          ? `${heicHint}.`
          : `Put ${imageFormats} files into the folder itself or into one subfolder per class.`),
    )
  }
  if (others.length > 0)
    onWarning(
      `Ignored files in ${folder} that are not images: ${countTypes(others)}.${hasHeic ? ` ${heicHint}` : ''}`,
    )
  return images
}

function typeOf(path: string): string {
  return extname(path).toLowerCase()
}

/** Lists the types of files with their counts, the most frequent first: "12 .txt (a.txt …), 1 .mp4 (b.mp4)". */
function countTypes(paths: readonly string[]): string {
  const groups = Map.groupBy(paths, (path) => typeOf(path) || 'without extension')
  return [...groups]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([type, group]) => `${group.length} ${type} (${basename(group[0]!)}${group.length > 1 ? ' …' : ''})`)
    .join(', ')
}

/** Returns whether a link leads to a folder or a device. A broken link is reported as an unreadable image. */
function isFolderOrDevice({ parentPath, name }: Dirent): boolean {
  const target = statSync(join(parentPath, name), { throwIfNoEntry: false })
  return target !== undefined && !target.isFile()
}
