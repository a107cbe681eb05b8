import type { Storage } from '../../edge/server/storage/storage.ts'

/** Error that simulates the death of the process that uses a store. */
export class Killed extends Error {}

/**
 * Wraps a store whose user is killed at one operation. Every later operation fails.
 * @param at index of the operation, from 0 on
 * @param done whether that operation still takes effect
 */
export function dyingStorage(storage: Storage, at: number, done: boolean): Storage {
  let operations = 0
  return intercepted(storage, async (run) => {
    const dies = operations++ >= at
    if (dies && operations > at + 1) throw new Killed()
    if (!dies) return await run()
    if (done) await run()
    throw new Killed()
  })
}

/** Wraps a store so that every operation goes through `around`. */
export function intercepted(
  storage: Storage,
  around: <R>(run: () => Promise<R>, operation: keyof Storage, key: string) => Promise<R>,
): Storage {
  return {
    head: (key) => around(() => storage.head(key), 'head', key),
    read: (key, range) => around(() => storage.read(key, range), 'read', key),
    put: (key, content, options) => around(() => storage.put(key, content, options), 'put', key),
    list: (prefix, options) => around(() => storage.list(prefix, options), 'list', prefix),
    remove: (keys) => around(() => storage.remove(keys), 'remove', keys.join(' ')),
  }
}
