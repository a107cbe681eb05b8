import { createReadStream, createWriteStream, type Stats } from 'node:fs'
import { link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import { checked } from './content.ts'
import type { ObjectInfo, Storage, Writing } from './storage.ts'

/** Keys that are paths below the folder and nothing else. */
const plainKey = /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/

/** A lock this old was left by a process that is gone: holding one takes milliseconds. */
const lockSeconds = 10

/**
 * Objects as files of a folder, media types beside them in `.types`. Written elsewhere first (`.parts`), then moved
 * into place, so that a reader, or one that comes after a crash, finds whole objects only.
 */
export function folderStorage(folder: string): Storage {
  const pathOf = (key: string) => {
    if (plainKey.test(key)) return join(folder, ...key.split('/'))
    throw new Error(`Found the key "${key}"; expected plain names with slashes between them.`)
  }
  const typePathOf = (key: string) => join(folder, '.types', ...key.split('/'))
  const factsOf = async (key: string, { size, mtime, ino, mtimeMs }: Stats): Promise<ObjectInfo> => {
    const mediaType = (await unlessAbsent(readFile(typePathOf(key), 'utf8'))) ?? 'application/octet-stream'
    return { key, bytes: size, mediaType, modified: mtime, version: `${ino}-${mtimeMs}-${size}` }
  }
  const facts = async (key: string) => {
    const found = await unlessAbsent(stat(pathOf(key)))
    return found?.isFile() ? await factsOf(key, found) : null
  }
  return {
    facts,
    async read(key, range) {
      const file = await unlessAbsent(open(pathOf(key)))
      if (file === null) return null
      try {
        // Of the open file, which stays as it is whatever is moved into its place.
        const found = await file.stat()
        if (!found.isFile()) {
          await file.close()
          return null
        }
        const known = await factsOf(key, found)
        const { offset, length } = range ?? { offset: 0, length: known.bytes }
        if (length === 0) {
          await file.close()
          return { facts: known, body: new Blob([]).stream() }
        }
        const stream = createReadStream('', { fd: file, start: offset, end: offset + length - 1 })
        return { facts: known, body: Readable.toWeb(stream) as ReadableStream<Uint8Array> }
      } catch (error) {
        await file.close()
        throw error
      }
    },
    async put(key, content, writing) {
      const path = pathOf(key)
      const part = join(folder, '.parts', crypto.randomUUID())
      for (const place of [path, part, typePathOf(key)]) await mkdir(dirname(place), { recursive: true })
      try {
        const file = createWriteStream(part, { flush: true })
        await pipeline(Readable.from(checked(key, content, writing)), file)
        if (!(await moveIntoPlace(key, part, path, writing))) return null
        return await facts(key)
      } finally {
        await rm(part, { force: true })
      }
    },
    async list(prefix, { after = '', limit = 1000 } = {}) {
      // Of the other folders nothing begins so.
      const below = prefix.slice(0, prefix.lastIndexOf('/') + 1)
      const names = (await unlessAbsent(readdir(join(folder, below), { recursive: true }))) ?? []
      const keys = names
        .map((name) => below + name.replaceAll('\\', '/'))
        .filter((key) => key.startsWith(prefix) && key > after && plainKey.test(key))
        .sort()
      const objects: ObjectInfo[] = []
      for (const key of keys) {
        // Folders are listed, too, and files may have been removed meanwhile.
        const found = await facts(key)
        if (found === null) continue
        if (objects.length === limit) return { objects, more: true }
        objects.push(found)
      }
      return { objects, more: false }
    },
    async remove(keys) {
      for (const key of keys) {
        await rm(pathOf(key), { force: true })
        await rm(typePathOf(key), { force: true })
      }
    },
  }

  async function moveIntoPlace(
    key: string,
    part: string,
    path: string,
    { mediaType, only }: Writing,
  ): Promise<boolean> {
    // The type first: whoever sees the object finds it. The same key has the same type all its life.
    await writeFile(typePathOf(key), mediaType)
    if (only === undefined) {
      await rename(part, path)
      return true
    }
    if (only === 'absent') return await linkUnlessThere(part, path)
    return await whileLocked(join(folder, '.parts', `${key.replaceAll('/', '~')}.lock`), async () => {
      if ((await facts(key))?.version !== only.version) return false
      await rename(part, path)
      return true
    })
  }
}

async function linkUnlessThere(part: string, path: string): Promise<boolean> {
  try {
    await link(part, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function whileLocked<R>(lock: string, action: () => Promise<R>): Promise<R> {
  for (;;) {
    try {
      await writeFile(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const held = await unlessAbsent(stat(lock))
      if (held !== null && Date.now() - held.mtimeMs > lockSeconds * 1000) await rm(lock, { force: true })
      else await setTimeout(5)
    }
  }
  try {
    return await action()
  } finally {
    await rm(lock, { force: true })
  }
}

async function unlessAbsent<R>(promise: Promise<R>): Promise<R | null> {
  try {
    return await promise
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}
