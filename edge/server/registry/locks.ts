import { readText, type Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { keys } from './keys.ts'

/** Age in minutes at which a lock counts as abandoned. A collection stops removing files after half of this time. */
export const lockMinutes = 30

/**
 * Hours for which an announced version is protected from garbage collection. It must be committed within half of this
 * time.
 */
export const publicationHours = 48

/** Maximum number of attempts of a conditional write, when other writers change the object at the same time. */
export const maxAttempts = 20

/** Waits before another attempt, for a random time that grows: R2 accepts one write of an object per second. */
export async function pauseBeforeAttempt(attempt: number): Promise<void> {
  if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 50 * attempt))
}

/** @throws RegistryError "busy" during a garbage collection */
export async function assertNotCollecting(storage: Storage, now: Date = new Date()): Promise<void> {
  const lock = await storage.head(keys.collection)
  if (lock === null || now.getTime() - lock.modified.getTime() > lockMinutes * 60_000) return
  throw new RegistryError('busy', 'A garbage collection is running. Try again in a minute.')
}

/**
 * Acquires the lock of the garbage collection.
 * @returns a function that releases it
 * @throws RegistryError "busy" if another collection holds it
 */
export async function acquireCollectionLock(storage: Storage, now: Date): Promise<() => Promise<void>> {
  const lock = await storage.head(keys.collection)
  if (lock !== null) await assertNotCollecting(storage, now)
  const onlyIf = lock === null ? ('absent' as const) : { version: lock.version }
  const text = JSON.stringify({ holder: crypto.randomUUID(), begun: now.toISOString() })
  if (!(await storage.put(keys.collection, text, { mediaType: 'application/json', onlyIf }))) {
    throw new RegistryError('busy', 'Another garbage collection is running. Try again in a minute.')
  }
  return async () => {
    // If this lock counted as abandoned, another collection may have replaced it. That lock must stay.
    if ((await readText(storage, keys.collection))?.text === text) await storage.remove([keys.collection])
  }
}
