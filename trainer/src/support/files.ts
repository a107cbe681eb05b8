import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { UserError } from '@ddpm/shared'

/** Error of the system while writing a file. */
export class WriteError extends UserError {}

/**
 * Runs a function that writes `path`, and converts system errors to messages about that path.
 * @param size bytes to write, for the message about a full disk
 * @throws WriteError
 */
export function withWriteErrors<T>(path: string, size: number, write: () => T): T {
  try {
    return write()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    throw new WriteError(
      full
        ? `Cannot write ${path}: the disk is full. The file needs ${formatBytes(size)}, but only ` +
            `${formatBytes(freeSpace(dirname(path)))} are free in ${dirname(path)}. Free some space there.`
        : `Cannot write ${path}: ${message}. Make the path writable, or choose another folder.`,
    )
  }
}

/**
 * Checks that a file or folder can be written, before long work whose result goes there. Creates nothing.
 * @throws WriteError
 */
export function assertWritable(path: string): void {
  const existing = existsSync(path) ? path : nearestFolder(path)
  withWriteErrors(path, 0, () => {
    if (existing !== path && !statSync(existing).isDirectory())
      throw Object.assign(new Error(`${existing} is not a folder`), { code: 'ENOTDIR' })
    accessSync(existing, constants.W_OK)
  })
}

/** Returns the nearest path above a path that exists. */
function nearestFolder(path: string): string {
  const folder = dirname(resolve(path))
  return existsSync(folder) ? folder : nearestFolder(folder)
}

/** Returns the free space on a folder's disk in bytes. */
export function freeSpace(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

/** Formats a number of bytes: 1536 is 1.5 kB. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}

const temporaryEnding = '.part'

/**
 * Writes a file atomically: after a crash or a power failure the file has either the old or the new content, never a part of it.
 * Writes a temporary file next to the path, flushes it to disk, renames it and flushes the folder.
 *
 * The package write-file-atomic is not used: it does not detect short writes or flush the folder, and the names of its
 * temporary files are random, so those of a killed process could not be removed.
 * @throws WriteError
 */
export function writeAtomically(path: string, bytes: Uint8Array | string): void {
  const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  const temporary = `${path}${temporaryEnding}`
  const folder = dirname(path)
  withWriteErrors(path, data.length, () => {
    const firstCreated = mkdirSync(folder, { recursive: true })
    try {
      writeAndFlush(temporary, data)
      renameSync(temporary, path)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
    flushFolder(folder)
    if (firstCreated !== undefined) flushFolder(dirname(firstCreated))
  })
}

/** Writes a file and flushes it to disk. */
function writeAndFlush(path: string, data: Uint8Array): void {
  const file = openSync(path, 'w')
  try {
    for (let written = 0; written < data.length; ) written += writeSync(file, data, written)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Flushes the entries of a folder to disk. Windows does so by itself and does not allow opening folders. */
function flushFolder(path: string): void {
  if (process.platform === 'win32') return
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** Removes the temporary files that killed processes left in a folder and its subfolders. */
export function removeTemporaryFiles(folder: string): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (name.endsWith(temporaryEnding)) rmSync(join(folder, name))
  }
}
