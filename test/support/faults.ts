import type { Storage } from '../../edge/server/storage/storage.ts'

/** What a process that was killed sees: nothing any more. */
export class Killed extends Error {}

/**
 * A store whose user is killed at an operation.
 * @param at which operation, from 0 on
 * @param done whether that one still takes effect
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

/** A store each of whose operations goes through `around`. */
export function intercepted(
  storage: Storage,
  around: <R>(run: () => Promise<R>, operation: keyof Storage, key: string) => Promise<R>,
): Storage {
  return {
    facts: (key) => around(() => storage.facts(key), 'facts', key),
    read: (key, range) => around(() => storage.read(key, range), 'read', key),
    put: (key, content, writing) => around(() => storage.put(key, content, writing), 'put', key),
    list: (prefix, options) => around(() => storage.list(prefix, options), 'list', prefix),
    remove: (keys) => around(() => storage.remove(keys), 'remove', keys.join(' ')),
  }
}
