import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { UserError } from '@ddpm/shared'

/** The system refused to write; what was there before is still there. */
export class CannotWrite extends UserError {}

/**
 * Carries out a change of files; what the system refuses becomes a message about `path`.
 * @param size of what is to be written, in bytes
 */
export function changing<T>(path: string, size: number, change: () => T): T {
  try {
    return change()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    throw new CannotWrite(
      full
        ? `Cannot write ${path}: the disk is full. ${formatBytes(size)} are needed, ` +
            `${formatBytes(freeSpace(dirname(path)))} are free in ${dirname(path)}. Make room there.`
        : `Cannot write ${path}: ${message}. Make it writable, or choose another folder.`,
    )
  }
}

/** Bytes that may still be written into a folder. */
export function freeSpace(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

/** 1536 → 1.5 kB */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}

const draftEnding = '.part'

/**
 * Writes a file so that it is there whole or not at all, also when the process is killed or the power fails: beside its
 * place first, then moved over it, each step on the disk before the next.
 * @throws CannotWrite
 */
export function writeAtomically(path: string, bytes: Uint8Array | string): void {
  const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  const draft = `${path}${draftEnding}`
  const folder = dirname(path)
  changing(path, data.length, () => {
    const made = mkdirSync(folder, { recursive: true })
    try {
      writeWhole(draft, data)
      renameSync(draft, path)
    } catch (error) {
      rmSync(draft, { force: true })
      throw error
    }
    syncFolder(folder)
    if (made !== undefined) syncFolder(dirname(made))
  })
}

/** Writes a file and waits until it is on the disk. */
function writeWhole(path: string, data: Uint8Array): void {
  const file = openSync(path, 'w')
  try {
    for (let written = 0; written < data.length; ) written += writeSync(file, data, written)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Waits until the names in a folder are on the disk; Windows keeps them without being asked, and does not let one ask. */
function syncFolder(path: string): void {
  if (process.platform === 'win32') return
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** Removes what a killed process left half written in a folder or one inside it. */
export function removeDrafts(folder: string): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (name.endsWith(draftEnding)) rmSync(join(folder, name))
  }
}
