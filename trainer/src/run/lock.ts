import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { changing } from '../support/files.ts'

/** Who is training into a folder. */
interface Holder {
  readonly pid: number
  readonly host: string
  /** When the process began, in the system's own count: tells it from a later one with the same number. */
  readonly began: string | null
}

/** The file's name in the run's folder. */
export const lockName = 'lock'

/** A lock of another machine, whose processes cannot be seen from here, is believed for so long after its last sign of life. */
const silence = { sign: 60_000, stale: 600_000, empty: 5_000 }

/**
 * Makes this process the only one that trains into a folder, until it ends, however it ends: a lock whose process is no
 * more is taken over.
 * @throws UserError with the other's process id; CannotWrite
 */
export function lockRun(folder: string): void {
  const path = join(folder, lockName)
  const me: Holder = { pid: process.pid, host: hostname(), began: beganAt(process.pid) }
  changing(path, 100, () => {
    mkdirSync(folder, { recursive: true })
    while (!creates(path, JSON.stringify(me))) {
      refuseIfLocked(folder)
      removeStale(path)
    }
  })
  setInterval(() => utimesSync(path, new Date(), new Date()), silence.sign).unref()
  process.on('exit', () => rmSync(path, { force: true }))
}

/** Creates a file, which only one process can; false where it is there already. */
function creates(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    rmSync(path, { force: true })
    throw error
  }
}

/** Removes a lock that nobody holds; one that another process has made in its place meanwhile is put back. */
function removeStale(path: string): void {
  const aside = `${path}.${process.pid}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if (holderOf(aside) === null) rmSync(aside)
  else renameSync(aside, path)
}

/** @throws UserError where another process is training into the folder */
export function refuseIfLocked(folder: string): void {
  const holder = holderOf(join(folder, lockName))
  if (holder === null) return
  const host = holder.host === hostname() ? '' : ` on ${holder.host}`
  throw new UserError(
    `Another training is writing into ${folder}: process ${holder.pid || 'unknown, it has just begun'}${host}. Wait for it, ` +
      'stop it (Ctrl+C or kill makes it save), or choose another place with --out.',
  )
}

/** Who holds a lock; null where nobody does, or nobody any more. */
function holderOf(path: string): Holder | null {
  const lastSign = statSync(path, { throwIfNoEntry: false })?.mtimeMs
  if (lastSign === undefined) return null
  const holder = readHolder(path)
  if (holder !== null) return isAlive(holder, lastSign) ? holder : null
  // Between its creation and its first byte a lock is empty.
  return Date.now() - lastSign > silence.empty ? null : { pid: 0, host: hostname(), began: null }
}

function readHolder(path: string): Holder | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

function isAlive({ pid, host, began }: Holder, lastSign: number): boolean {
  if (host !== hostname()) return Date.now() - lastSign < silence.stale
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return began === beganAt(pid)
}

/** Field 22 of /proc/PID/stat, where there is one; the name in field 2 may hold anything but ends with the last bracket. */
function beganAt(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
