import { createWriteStream, type Stats, statSync } from 'node:fs'
import {
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import { verifiedChunks } from './content.ts'
import { type ObjectInfo, type PutOptions, type Storage, StorageFull } from './storage.ts'

/** Keys that are safe as relative paths: no empty or hidden segments, which excludes "..". */
const plainKey = /^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/

/** Age at which a lock counts as abandoned. Locks are held for milliseconds only. */
const maxLockSeconds = 10

/**
 * Age in milliseconds at which a file in `.parts` counts as abandoned: its writer was killed. A write in progress changes
 * its file every few seconds.
 */
const maxPartAge = 3_600_000

/** Number of bytes that are read from a file at once. */
const chunkBytes = 256 * 1024

/** A range of an open file. Whoever reads it closes the file. */
export interface FileRange {
  readonly file: FileHandle
  readonly offset: number
  readonly length: number
}

/** The ranges that the streams of `read` consist of. */
const ranges = new WeakMap<ReadableStream, FileRange>()

/** Returns the range of a file that an unread stream of a folder storage consists of, or null for another stream. */
export const fileRangeOf = (stream: ReadableStream): FileRange | null => ranges.get(stream) ?? null

const versionOf = ({ ino, mtimeMs, size }: Stats) => `${ino}-${mtimeMs}-${size}`

/**
 * Opens an object store in a folder. Objects are files; their media types are in the sub-folder `.types`. Both are
 * written to `.parts` first and then moved, so that readers see complete objects only, even after a crash.
 */
export function folderStorage(folder: string): Storage {
  const objectPath = (key: string) => {
    if (plainKey.test(key)) return join(folder, ...key.split('/'))
    // Without the key, which may contain the path of a request: the message is logged.
    throw new Error('Invalid storage key: expected plain names separated by slashes.')
  }
  let swept = 0
  const typePath = (key: string) => join(folder, '.types', ...key.split('/'))
  const toInfo = async (key: string, stats: Stats): Promise<ObjectInfo> => {
    const mediaType = (await nullIfMissing(readFile(typePath(key), 'utf8'))) ?? 'application/octet-stream'
    return { key, bytes: stats.size, mediaType, modified: stats.mtime, version: versionOf(stats) }
  }
  const head = async (key: string) => {
    const stats = await nullIfMissing(stat(objectPath(key)))
    return stats?.isFile() ? await toInfo(key, stats) : null
  }
  return {
    head,
    currentVersion(key) {
      const stats = statSync(objectPath(key), { throwIfNoEntry: false })
      return stats?.isFile() ? versionOf(stats) : null
    },
    async read(key, range) {
      const file = await nullIfMissing(open(objectPath(key)))
      if (file === null) return null
      try {
        // Read from the open file, because another file may be moved to its path at any time.
        const stats = await file.stat()
        if (!stats.isFile()) {
          await file.close()
          return null
        }
        const info = await toInfo(key, stats)
        const { offset, length } = range ?? { offset: 0, length: info.bytes }
        if (length === 0) {
          await file.close()
          return { info, body: new Blob([]).stream() }
        }
        return { info, body: streamRange(file, offset, length) }
      } catch (error) {
        await file.close()
        throw error
      }
    },
    async put(key, content, options) {
      const path = objectPath(key)
      const part = join(folder, '.parts', crypto.randomUUID())
      try {
        for (const target of [path, part, typePath(key)]) await mkdir(dirname(target), { recursive: true })
        if (Date.now() - swept > maxPartAge) {
          swept = Date.now()
          await removeAbandonedParts(dirname(part))
        }
        const file = createWriteStream(part, { flush: true })
        await pipeline(Readable.from(verifiedChunks(key, content, options)), file)
        if (!(await moveIntoPlace(key, part, path, options))) return null
        return await head(key)
      } catch (error) {
        if (!['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
        throw new StorageFull('The disk of the store is full. Free some space there, then try again.')
      } finally {
        for (const path of [part, `${part}.type`]) await rm(path, { force: true })
      }
    },
    async list(prefix, { after = '', limit = 1000 } = {}) {
      // Only this folder can contain keys with the prefix.
      const parent = prefix.slice(0, prefix.lastIndexOf('/') + 1)
      const names = (await nullIfMissing(readdir(join(folder, parent), { recursive: true }))) ?? []
      const keys = names
        .map((name) => parent + name.replaceAll('\\', '/'))
        .filter((key) => key.startsWith(prefix) && key > after && plainKey.test(key))
        .sort()
      const objects: ObjectInfo[] = []
      for (const key of keys) {
        // Null for folders, which are listed too, and for files removed in the meantime.
        const info = await head(key)
        if (info === null) continue
        if (objects.length === limit) return { objects, more: true }
        objects.push(info)
      }
      return { objects, more: false }
    },
    async remove(keys) {
      for (const key of keys) {
        await rm(objectPath(key), { force: true })
        await rm(typePath(key), { force: true })
      }
    },
  }

  async function moveIntoPlace(
    key: string,
    part: string,
    path: string,
    { mediaType, onlyIf }: PutOptions,
  ): Promise<boolean> {
    // The media type is written first, so that it exists as soon as the object exists. The type of a key rarely changes.
    if ((await nullIfMissing(readFile(typePath(key), 'utf8'))) !== mediaType) {
      await writeFile(`${part}.type`, mediaType)
      await rename(`${part}.type`, typePath(key))
    }
    if (onlyIf === undefined) {
      await rename(part, path)
      return true
    }
    if (onlyIf === 'absent') return await linkIfMissing(part, path)
    return await withLock(join(folder, '.parts', `${key.replaceAll('/', '~')}.lock`), async () => {
      if ((await head(key))?.version !== onlyIf.version) return false
      await rename(part, path)
      return true
    })
  }
}

/**
 * Reads a range of a file as a stream, and closes the file at its end. The stream fails if the file ends earlier, because
 * another program shortened it. `createReadStream` would end without an error.
 */
function streamRange(file: FileHandle, offset: number, length: number): ReadableStream<Uint8Array> {
  let position = offset
  const end = offset + length
  const source = {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>) {
      try {
        const size = Math.min(chunkBytes, end - position)
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(size), 0, size, position)
        if (bytesRead === 0) throw new Error('A file of the store became shorter while it was read.')
        position += bytesRead
        controller.enqueue(buffer.subarray(0, bytesRead))
        if (position < end) return
        await file.close()
        controller.close()
      } catch (error) {
        await file.close()
        controller.error(error)
      }
    },
    cancel: () => file.close(),
  }
  // Reads nothing in advance.
  const stream = new ReadableStream(source, { highWaterMark: 0 })
  ranges.set(stream, { file, offset, length })
  return stream
}

/** Removes the files of writers that were killed. */
async function removeAbandonedParts(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    const stats = await nullIfMissing(stat(path))
    if (stats !== null && Date.now() - stats.mtimeMs > maxPartAge) await rm(path, { force: true })
  }
}

async function linkIfMissing(part: string, path: string): Promise<boolean> {
  try {
    await link(part, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function withLock<R>(lock: string, action: () => Promise<R>): Promise<R> {
  for (;;) {
    try {
      await writeFile(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const stats = await nullIfMissing(stat(lock))
      if (stats !== null && Date.now() - stats.mtimeMs > maxLockSeconds * 1000)
        await rm(lock, { force: true })
      else await setTimeout(5)
    }
  }
  try {
    return await action()
  } finally {
    await rm(lock, { force: true })
  }
}

async function nullIfMissing<R>(promise: Promise<R>): Promise<R | null> {
  try {
    return await promise
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}
