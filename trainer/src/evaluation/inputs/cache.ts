import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { UserError } from '@ddpm/shared'
import { writeAtomically } from '../../support/files.ts'

/**
 * Returns a short name for the settings that determine a result. A result that is cached under this name need not be
 * computed again.
 */
export function cacheKey(settings: unknown): string {
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 12)
}

/**
 * Reads cached JSON; null if there is none.
 * @throws UserError if the file is damaged
 */
export function readCached<T>(path: string): T | null {
  if (!existsSync(path)) return null
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new UserError(
      `Invalid cache file ${path} (${(error as Error).message}). Remove the file and run the command again.`,
    )
  }
}

export function writeCached(path: string, value: unknown): void {
  writeAtomically(path, `${JSON.stringify(value)}\n`)
}

/** Returns the SHA-256 of arrays: identifies the images or weights that a result was computed from. */
export function digest(...parts: readonly ArrayBufferView[]): string {
  const hash = createHash('sha256')
  for (const { buffer, byteOffset, byteLength } of parts)
    hash.update(new Uint8Array(buffer, byteOffset, byteLength))
  return hash.digest('hex')
}
