import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import * as z from 'zod'
import { isCompressible } from '../../server/http/negotiation.ts'
import { RegistryError } from '../../server/registry/errors.ts'
import { type Coding, codings, keys } from '../../server/registry/keys.ts'
import { lockMinutes } from '../../server/registry/locks.ts'
import { readText, type Storage } from '../../server/storage/storage.ts'

/** A file on this machine whose hash is known. */
export interface RuntimeAsset {
  readonly path: string
  readonly sha256: string
  readonly bytes: number
  readonly mediaType: string
}

/** What is to be stored. */
export interface Sent {
  readonly key: string
  readonly content: Uint8Array | string
  readonly mediaType: string
}

/** Where onnxruntime's files are sent. */
export interface RuntimeTarget {
  /** A small object, or null where there is none. */
  read(key: string): Promise<string | null>
  write(objects: readonly Sent[]): Promise<void>
}

/** The files that pages may ask for, this build's and those of earlier ones, which open pages still use. */
const sentFiles = z.array(
  z.object({ sha256: z.string(), bytes: z.int(), mediaType: z.string(), sent: z.boolean().default(false) }),
)

const compress: { [C in Coding]: (content: Uint8Array) => Promise<Buffer> } = {
  // 9 takes four times as long for two hundredths of the size.
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

/**
 * Puts onnxruntime-web's own files where the client looks for them, each as it is and compressed. They are written
 * down first, as not yet sent: so nobody collects them, and a run that was stopped is gone on with.
 * @returns how many files were sent
 */
export async function sendRuntime(target: RuntimeTarget, files: readonly RuntimeAsset[]): Promise<number> {
  const stored = await target.read(keys.runtime)
  const known = stored === null ? [] : sentFiles.parse(JSON.parse(stored))
  const isSent = (sha256: string) => known.some((file) => file.sha256 === sha256 && file.sent)
  const missing = files.filter(({ sha256 }) => !isSent(sha256))
  if (missing.length === 0) return 0
  const others = known.filter(({ sha256 }) => !missing.some((file) => file.sha256 === sha256))
  const record = (sent: boolean) => {
    const own = missing.map(({ sha256, bytes, mediaType }) => ({ sha256, bytes, mediaType, sent }))
    const content = `${JSON.stringify([...others, ...own], null, 2)}\n`
    return target.write([{ key: keys.runtime, content, mediaType: 'application/json' }])
  }
  await record(false)
  await refuseWhileLocked(await target.read(keys.collection))
  await target.write((await Promise.all(missing.map(formsOf))).flat())
  await record(true)
  return missing.length
}

/** A file as it is, and compressed. */
async function formsOf({ path, sha256, mediaType }: RuntimeAsset): Promise<Sent[]> {
  const content = await readFile(path)
  const variants = isCompressible(mediaType) ? codings : []
  return await Promise.all([
    { key: keys.file(sha256), content, mediaType },
    ...variants.map(async (coding) => {
      return { key: keys.variant(sha256, coding), content: await compress[coding](content), mediaType }
    }),
  ])
}

async function refuseWhileLocked(lock: string | null): Promise<void> {
  if (lock === null) return
  const { begun } = JSON.parse(lock) as { begun: string }
  if (Date.now() - Date.parse(begun) > lockMinutes * 60_000) return
  throw new RegistryError('busy', 'Unused files are being removed at this moment; try again in a minute.')
}

/** A store on this machine, as a target. */
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
