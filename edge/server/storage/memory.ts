import { verifiedChunks } from './content.ts'
import type { ObjectInfo, Storage } from './storage.ts'

/** Opens an object store in the memory of this process, for tests and for `npm run static`. */
export function memoryStorage(now: () => Date = () => new Date()): Storage {
  const objects = new Map<string, { info: ObjectInfo; bytes: Uint8Array }>()
  let writes = 0
  return {
    async head(key) {
      return objects.get(key)?.info ?? null
    },
    async read(key, range) {
      const object = objects.get(key)
      if (object === undefined) return null
      const { offset, length } = range ?? { offset: 0, length: object.bytes.length }
      const body = new Blob([object.bytes.slice(offset, offset + length)]).stream()
      return { info: object.info, body }
    },
    async put(key, content, { mediaType, onlyIf, ...expected }) {
      const parts: Uint8Array[] = []
      for await (const chunk of verifiedChunks(key, content, expected)) parts.push(chunk)
      const bytes = new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer())
      const current = objects.get(key)
      if (onlyIf === 'absent' ? current : onlyIf && current?.info.version !== onlyIf.version) return null
      const info = { key, bytes: bytes.length, mediaType, modified: now(), version: String(++writes) }
      objects.set(key, { info, bytes })
      return info
    },
    async list(prefix, { after = '', limit = 1000 } = {}) {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort()
      const page = keys.slice(0, limit).map((key) => objects.get(key)!.info)
      return { objects: page, more: keys.length > limit }
    },
    async remove(keys) {
      for (const key of keys) objects.delete(key)
    },
  }
}
