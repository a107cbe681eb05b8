import { linkSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { changing } from './files.ts'

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
const silence = { sign: 60_000, stale: 600_000 }

/**
 * Makes this process the only one that trains into a folder, until it ends, however it ends: a lock whose process is no
 * more is taken over.
 * @throws UserError with the other's process id; CannotWrite
 */
export function lockRun(folder: string): void {
  const path = join(folder, lockName)
  const draft = `${path}.${process.pid}`
  const me: Holder = { pid: process.pid, host: hostname(), began: beganAt(process.pid) }
  changing(path, 100, () => {
    mkdirSync(folder, { recursive: true })
    try {
      writeFileSync(draft, JSON.stringify(me))
      // A link is there with all its content or not at all, and only one process can make it.
      while (!links(draft, path)) {
        refuseIfLocked(folder)
        rmSync(path, { force: true })
      }
    } finally {
      rmSync(draft, { force: true })
    }
  })
  setInterval(() => utimesSync(path, new Date(), new Date()), silence.sign).unref()
  process.on('exit', () => rmSync(path, { force: true }))
}

function links(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** @throws UserError where another process is training into the folder */
export function refuseIfLocked(folder: string): void {
  const path = join(folder, lockName)
  let holder: Holder
  try {
    holder = JSON.parse(readFileSync(path, 'utf8'))
    if (!isAlive(holder, statSync(path).mtimeMs)) return
  } catch {
    return
  }
  const where =
    holder.host === hostname() ? `process ${holder.pid}` : `process ${holder.pid} on ${holder.host}`
  throw new UserError(
    `Another training is writing into ${folder}: ${where}. Wait for it, stop it (kill ${holder.pid} makes it save), or ` +
      'choose another place with --out.',
  )
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
