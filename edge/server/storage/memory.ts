import { checked } from './content.ts'
import type { ObjectInfo, Storage } from './storage.ts'

/** Objects in this process's memory: for tests. */
export function memoryStorage(now: () => Date = () => new Date()): Storage {
  const objects = new Map<string, { facts: ObjectInfo; bytes: Uint8Array }>()
  let writes = 0
  return {
    async facts(key) {
      return objects.get(key)?.facts ?? null
    },
    async read(key, range) {
      const object = objects.get(key)
      if (object === undefined) return null
      const { offset, length } = range ?? { offset: 0, length: object.bytes.length }
      const body = new Blob([object.bytes.slice(offset, offset + length)]).stream()
      return { facts: object.facts, body }
    },
    async put(key, content, { mediaType, only, ...promised }) {
      const parts: Uint8Array[] = []
      for await (const chunk of checked(key, content, promised)) parts.push(chunk)
      const bytes = new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer())
      const present = objects.get(key)
      if (only === 'absent' ? present : only && present?.facts.version !== only.version) return null
      const facts = { key, bytes: bytes.length, mediaType, modified: now(), version: String(++writes) }
      objects.set(key, { facts, bytes })
      return facts
    },
    async list(prefix, { after = '', limit = 1000 } = {}) {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort()
      const page = keys.slice(0, limit).map((key) => objects.get(key)!.facts)
      return { objects: page, more: keys.length > limit }
    },
    async remove(keys) {
      for (const key of keys) objects.delete(key)
    },
  }
}
