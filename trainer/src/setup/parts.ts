import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'
import { formatBytes, freeSpace } from '../support/files.ts'

// Optional parts of the project that `npm run setup` installs: each in a folder of its own in .setup/, or in the folder
// DDPM_SETUP.

const root = process.env['DDPM_SETUP'] ?? fileURLToPath(new URL('../../../.setup/', import.meta.url))

/** Size of a part in bytes, approximately. */
export interface PartSize {
  readonly download: number
  readonly disk: number
}

export function partFolder(name: string): string {
  return join(root, name)
}

/** File that is written last: without it, the installation was interrupted. */
const stampOf = (name: string) => join(partFolder(name), 'complete')

export function isInstalled(name: string): boolean {
  return existsSync(stampOf(name))
}

/** Removes a part. Returns whether there was one. */
export function removePart(name: string): boolean {
  const existed = existsSync(partFolder(name))
  rmSync(partFolder(name), { recursive: true, force: true })
  return existed
}

/**
 * Installs a part in an empty folder. Removes the folder again if this fails.
 * @param install receives the folder
 * @throws UserError if there is not enough space; errors of `install`
 */
export async function installPart(
  name: string,
  { download, disk }: PartSize,
  install: (folder: string) => Promise<void>,
): Promise<void> {
  removePart(name)
  const folder = partFolder(name)
  mkdirSync(folder, { recursive: true })
  try {
    const free = freeSpace(folder)
    if (free < disk)
      throw new UserError(
        `Not enough space for ${name}: ${folder} needs ${formatBytes(disk)}, but only ${formatBytes(free)} are free. ` +
          'Free some space there.',
      )
    console.log(
      `Installing ${name} in ${folder}: about ${formatBytes(download)} to download, ${formatBytes(disk)} on the disk.`,
    )
    await install(folder)
    writeFileSync(stampOf(name), '')
  } catch (error) {
    removePart(name)
    throw error
  }
}

/**
 * Runs a program and shows its output. Signals are passed on to it.
 * @returns whether it succeeded, and its standard error
 * @throws UserError if it cannot be started, or after a signal
 */
export async function run(
  program: string,
  args: readonly string[],
): Promise<{ succeeded: boolean; errors: string }> {
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
    process.stderr.write(text)
  })
  let stopped: NodeJS.Signals | null = null
  const stop = (signal: NodeJS.Signals) => {
    stopped = signal
    child.kill(signal)
  }
  for (const signal of signals) process.on(signal, stop)
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child
        .on('error', ({ message }) => reject(new UserError(`Cannot run ${program}: ${message}.`)))
        .on('close', resolve)
    })
    if (stopped !== null) throw new UserError(`Stopped by ${stopped}.`)
    return { succeeded: status === 0, errors }
  } finally {
    for (const signal of signals) process.off(signal, stop)
  }
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
