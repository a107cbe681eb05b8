// Uploads in several requests, for files above the size limit of one request. Each part is a separate object until the
// file is assembled, so that an interrupted upload resumes where it stopped, on every kind of store.
import { ContentMismatch, listAll, type Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { keys } from './keys.ts'
import { replaceFile } from './publishing.ts'
import type { Purge } from './purging.ts'
import { verifyFile } from './verification.ts'

/** Maximum size of a request body. Cloudflare's free plan allows 100 MB. */
export const maxRequestBytes = 64 * 2 ** 20
/** Maximum size of a file. Assembling is one write, and R2 allows just below 5 GiB in one write. */
export const maxFileBytes = 4 * 2 ** 30

export interface UploadedPart {
  readonly index: number
  readonly bytes: number
}

/** Lists the parts that were uploaded. */
export async function listParts(storage: Storage, sha256: string): Promise<UploadedPart[]> {
  const prefix = keys.parts(sha256)
  const objects = await Array.fromAsync(listAll(storage, prefix))
  return objects.map(({ key, bytes }) => ({ index: Number(key.slice(prefix.length)), bytes }))
}

/** Stores one part of a file. */
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
 * Assembles a file from its parts, in order, and removes the parts.
 * @param purge purges a damaged file, which is replaced, from the cache in front of the server
 * @returns whether the file was written; false if it was stored already
 * @throws RegistryError if parts are missing
 * @throws ContentMismatch if the assembled file does not have the expected hash
 */
export async function assembleFile(
  storage: Storage,
  file: { sha256: string; bytes: number; mediaType: string },
  purge?: Purge,
): Promise<boolean> {
  const parts = await listParts(storage, file.sha256)
  const partKeys = parts.map(({ index }) => keys.part(file.sha256, index))
  const state = await verifyFile(storage, file)
  if (state === 'intact') {
    await storage.remove(partKeys)
    return false
  }
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0)
  if (bytes !== file.bytes || parts.some(({ index }, i) => index !== i)) {
    throw new RegistryError(
      'missing files',
      `Missing parts of ${file.sha256}: expected ${file.bytes} bytes in parts numbered from 0 on, got ` +
        `${bytes} bytes in ${parts.length} parts. Upload the rest.`,
    )
  }
  try {
    await replaceFile(storage, file, state, concatenate(storage, partKeys), purge)
    await storage.remove(partKeys)
    return true
  } catch (error) {
    // Wrong parts are removed, because a retry cannot use them. After a failure of the store, parts stay for a retry.
    if (error instanceof ContentMismatch) await storage.remove(partKeys)
    throw error
  }
}

/** Reads several objects as one stream. */
function concatenate(storage: Storage, objectKeys: readonly string[]): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const send = async () => {
    for (const key of objectKeys) {
      const part = await storage.read(key)
      if (part === null) throw new Error(`${key} was removed during the read.`)
      await part.body.pipeTo(writable, { preventClose: true })
    }
    await writable.close()
  }
  // Errors reach the reader through the stream. abort() rejects if the reader has cancelled it, which is ignored.
  send().catch((error) => writable.abort(error).catch(() => {}))
  return readable
}
