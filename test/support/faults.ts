import type { Storage } from '../../edge/server/storage/storage.ts'

/** Error that simulates that the process was killed. */
export class Killed extends Error {}

/**
 * Wraps a storage to simulate that the process is killed at one operation. This operation and every later one fails.
 * @param at index of the operation; the first one is 0
 * @param done whether the operation still takes effect before it fails
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

/** Wraps a storage so that `around` is called instead of every operation. It receives a function that runs the operation. */
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
