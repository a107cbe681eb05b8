// Files that come in several requests, for those that one may not hold: parts are objects of their own until the last
// is there, so that an upload that broke off goes on where it stopped, on every kind of store.
import { listAll, Mismatch, type Storage } from '../storage/storage.ts'
import { Refusal } from './errors.ts'
import { keys } from './keys.ts'
import { hasFile, putFile } from './publishing.ts'

/** Cloudflare takes bodies of 100 MB on its free plan. */
export const maxRequestBytes = 64 * 2 ** 20
/** R2 takes just below 5 GiB in one write, which putting parts together is. */
export const maxFileBytes = 4 * 2 ** 30

export interface Part {
  readonly index: number
  readonly bytes: number
}

/** The parts that are there. */
export async function listParts(storage: Storage, sha256: string): Promise<Part[]> {
  const prefix = keys.parts(sha256)
  const objects = await Array.fromAsync(listAll(storage, prefix))
  return objects.map(({ key, bytes }) => ({ index: Number(key.slice(prefix.length)), bytes }))
}

export async function putPart(
  storage: Storage,
  sha256: string,
  index: number,
  content: ReadableStream<Uint8Array>,
  bytes: number,
): Promise<void> {
  await storage.put(keys.part(sha256, index), content, { bytes, mediaType: 'application/octet-stream' })
}

/**
 * Makes a file of its parts, in their order, and removes them.
 * @returns whether it was written; not where it was there already
 * @throws Refusal where parts are missing; Mismatch where they do not make what the hash promises
 */
export async function assembleFile(
  storage: Storage,
  file: { sha256: string; bytes: number; mediaType: string },
): Promise<boolean> {
  const parts = await listParts(storage, file.sha256)
  const partKeys = parts.map(({ index }) => keys.part(file.sha256, index))
  if (!(await hasFile(storage, file))) {
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0)
    if (bytes !== file.bytes || parts.some(({ index }, i) => index !== i)) {
      throw new Refusal(
        'missing files',
        `Found ${parts.length} parts of ${bytes} bytes together for ${file.sha256}; expected ${file.bytes} bytes ` +
          'in parts numbered from 0 on. Send what is missing.',
      )
    }
  }
  try {
    const written = await putFile(storage, file, () => joined(storage, partKeys))
    await storage.remove(partKeys)
    return written
  } catch (error) {
    // Parts that make something else are of no use to a second attempt; after a store that failed, they are.
    if (error instanceof Mismatch) await storage.remove(partKeys)
    throw error
  }
}

/** Objects one after the other as one stream. */
function joined(storage: Storage, objectKeys: readonly string[]): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const send = async () => {
    for (const key of objectKeys) {
      const part = await storage.read(key)
      if (part === null) throw new Error(`${key} was removed while it was being read.`)
      await part.body.pipeTo(writable, { preventClose: true })
    }
    await writable.close()
  }
  // Who reads it is told; when that one stopped reading, there is nobody to tell.
  send().catch((error) => writable.abort(error).catch(() => {}))
  return readable
}
