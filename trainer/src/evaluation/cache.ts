import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { UserError } from '@ddpm/shared'
import { writeAtomically } from '../support/files.ts'

/** A short name for whatever decides a result: what is kept under it need not be computed again. */
export function keyOf(settings: unknown): string {
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 12)
}

/** Reads JSON that was kept; null where there is none yet. @throws UserError where it is damaged */
export function readCached<T>(path: string): T | null {
  if (!existsSync(path)) return null
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new UserError(`${path} is damaged (${(error as Error).message}). Remove it to compute it again.`)
  }
}

export function writeCached(path: string, value: unknown): void {
  writeAtomically(path, `${JSON.stringify(value)}\n`)
}

/** A digest of arrays: which pictures or weights something was made from. */
export function digestOf(...parts: readonly ArrayBufferView[]): string {
  const hash = createHash('sha256')
  for (const { buffer, byteOffset, byteLength } of parts)
    hash.update(new Uint8Array(buffer, byteOffset, byteLength))
  return hash.digest('hex')
}
