import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { withWriteErrors } from '../support/files.ts'

/** The process that is training in a folder. */
interface Holder {
  readonly pid: number
  readonly host: string
  /** Start time of the process in clock ticks since boot. Distinguishes it from a later process with the same id. */
  readonly began: string | null
}

/** Name of the lock file in the folder of a run. */
export const lockName = 'lock'

/**
 * Intervals in milliseconds:
 * - `heartbeat`: a process updates the modification time of its lock this often.
 * - `stale`: the lock of another machine is stale after this time without a heartbeat.
 * - `empty`: a lock without content is stale after this time.
 */
const intervals = { heartbeat: 60_000, stale: 600_000, empty: 5_000 }

/**
 * Locks a folder for this process until it exits. Takes over a lock whose process no longer exists.
 * @throws UserError with the id of the process that holds the lock; WriteError
 */
export function lockRun(folder: string): void {
  const path = join(folder, lockName)
  const holder: Holder = { pid: process.pid, host: hostname(), began: startTime(process.pid) }
  withWriteErrors(path, 100, () => {
    mkdirSync(folder, { recursive: true })
    while (!createExclusively(path, JSON.stringify(holder))) {
      assertNotLocked(folder)
      removeStale(path)
    }
  })
  setInterval(() => utimesSync(path, new Date(), new Date()), intervals.heartbeat).unref()
  process.on('exit', () => rmSync(path, { force: true }))
}

/** Creates a file exclusively. Returns false if it exists. */
function createExclusively(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    rmSync(path, { force: true })
    throw error
  }
}

/** Removes a stale lock. Restores it if another process has replaced it in the meantime. */
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

/** @throws UserError if another process is training in the folder */
export function assertNotLocked(folder: string): void {
  const holder = holderOf(join(folder, lockName))
  if (holder === null) return
  const host = holder.host === hostname() ? '' : ` on ${holder.host}`
  throw new UserError(
    `Another process is training in ${folder}: process ${holder.pid || 'unknown (just started)'}${host}. ` +
      'Wait until it ends, stop it (it saves on Ctrl+C and kill), or choose another folder with --out.',
  )
}

/** Returns the holder of a lock; null if there is no lock or it is stale. */
function holderOf(path: string): Holder | null {
  const lastHeartbeat = statSync(path, { throwIfNoEntry: false })?.mtimeMs
  if (lastHeartbeat === undefined) return null
  const holder = readHolder(path)
  if (holder !== null) return isAlive(holder, lastHeartbeat) ? holder : null
  // A lock is empty between its creation and its first write.
  return Date.now() - lastHeartbeat > intervals.empty ? null : { pid: 0, host: hostname(), began: null }
}

function readHolder(path: string): Holder | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

function isAlive({ pid, host, began }: Holder, lastHeartbeat: number): boolean {
  if (host !== hostname()) return Date.now() - lastHeartbeat < intervals.stale
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return began === startTime(pid)
}

/**
 * Returns the start time of a process, field 22 of /proc/PID/stat; null if not available. Field 2, the process name, may
 * contain spaces and brackets, and ends at the last bracket.
 */
function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
