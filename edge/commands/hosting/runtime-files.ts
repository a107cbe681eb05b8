// Uploads onnxruntime-web's WebAssembly files to the store from which the page loads them. They are too large for the
// page's static assets; see `edge/build/site.ts`.
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { RuntimeFile } from '../../build/bundle.ts'
import { isCompressible } from '../../server/http/negotiation.ts'
import { RegistryError } from '../../server/registry/errors.ts'
import { type Coding, codings, keys } from '../../server/registry/keys.ts'
import { lockMinutes } from '../../server/registry/locks.ts'
import { runtimeList } from '../../server/registry/runtime-list.ts'
import { readText, type Storage } from '../../server/storage/storage.ts'

/** Store that receives the files: a `Storage`, or a bucket behind wrangler's command line. */
export interface RuntimeTarget {
  /** Reads a small object. Returns null if there is none. */
  read(key: string): Promise<string | null>
  write(objects: readonly ObjectToWrite[]): Promise<void>
}

export interface ObjectToWrite {
  readonly key: string
  readonly content: Uint8Array | string
  readonly mediaType: string
}

/**
 * Uploads the files under their hashes, uncompressed and in every content coding. First adds them to `keys.runtime` as
 * not yet sent, which protects them from garbage collection. The next call repeats an interrupted upload.
 * @returns the number of files that were uploaded
 */
export async function uploadRuntimeFiles(
  target: RuntimeTarget,
  files: readonly RuntimeFile[],
): Promise<number> {
  const stored = await target.read(keys.runtime)
  const known = stored === null ? [] : runtimeList.parse(JSON.parse(stored))
  const isSent = (sha256: string) => known.some((file) => file.sha256 === sha256 && file.sent)
  const missing = files.filter(({ sha256 }) => !isSent(sha256))
  if (missing.length === 0) return 0
  const others = known.filter(({ sha256 }) => !missing.some((file) => file.sha256 === sha256))
  const writeList = (sent: boolean) => {
    const added = missing.map(({ sha256, bytes, mediaType }) => ({ sha256, bytes, mediaType, sent }))
    const content = `${JSON.stringify([...others, ...added], null, 2)}\n`
    return target.write([{ key: keys.runtime, content, mediaType: 'application/json' }])
  }
  await writeList(false)
  await assertNotLocked(await target.read(keys.collection))
  await target.write((await Promise.all(missing.map(encode))).flat())
  await writeList(true)
  return missing.length
}

const compress: { [C in Coding]: (content: Uint8Array) => Promise<Buffer> } = {
  // Quality 9 takes four times as long for a 2 % smaller file.
  br: (content) =>
    promisify(brotliCompress)(content, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 7,
        [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
        [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
      },
    }),
  gzip: (content) => promisify(gzip)(content, { level: 6 }),
}

/** Returns the objects of a file: uncompressed, and in every content coding. */
async function encode({ path, sha256, mediaType }: RuntimeFile): Promise<ObjectToWrite[]> {
  const content = await readFile(path)
  const variants = isCompressible(mediaType) ? codings : []
  return await Promise.all([
    { key: keys.file(sha256), content, mediaType },
    ...variants.map(async (coding) => {
      return { key: keys.variant(sha256, coding), content: await compress[coding](content), mediaType }
    }),
  ])
}

async function assertNotLocked(lock: string | null): Promise<void> {
  if (lock === null) return
  const { begun } = JSON.parse(lock) as { begun: string }
  if (Date.now() - Date.parse(begun) > lockMinutes * 60_000) return
  throw new RegistryError('busy', 'A garbage collection is running. Try again in a minute.')
}

/** Wraps a store of this process as a target. */
export function storageTarget(storage: Storage): RuntimeTarget {
  return {
    read: async (key) => (await readText(storage, key))?.text ?? null,
    async write(objects) {
      for (const { key, content, mediaType } of objects) {
        const sha256 = key.startsWith(keys.files) && !key.includes('.') ? { sha256: keys.fileOf(key) } : {}
        await storage.put(key, content, { mediaType, ...sha256 })
      }
    },
  }
}
