import { readText, type Storage } from '../storage/storage.ts'
import { Refusal } from './errors.ts'
import { keys } from './keys.ts'

/** After so long a lock was left by a collection that is gone; a collection stops removing in half of it. */
export const lockMinutes = 30

/** A publication keeps its files from being collected for so long; it has to be committed in half of it. */
export const publicationHours = 48

/** @throws Refusal while garbage is collected */
export async function refuseWhileCollecting(storage: Storage, now: Date = new Date()): Promise<void> {
  const lock = await storage.facts(keys.collection)
  if (lock === null || now.getTime() - lock.modified.getTime() > lockMinutes * 60_000) return
  throw new Refusal('busy', 'Unused files are being removed at this moment; try again in a minute.')
}

/**
 * Takes the lock of a collection.
 * @returns what gives it back
 * @throws Refusal while another has it
 */
export async function lockOut(storage: Storage, now: Date): Promise<() => Promise<void>> {
  const held = await storage.facts(keys.collection)
  if (held !== null) await refuseWhileCollecting(storage, now)
  const only = held === null ? ('absent' as const) : { version: held.version }
  const text = JSON.stringify({ holder: crypto.randomUUID(), begun: now.toISOString() })
  if (!(await storage.put(keys.collection, text, { mediaType: 'application/json', only }))) {
    throw new Refusal('busy', 'Another removal of unused files is under way; try again in a minute.')
  }
  return async () => {
    // One that was so slow that another took over leaves the other's.
    if ((await readText(storage, keys.collection))?.text === text) await storage.remove([keys.collection])
  }
}
