import * as z from 'zod'
import { readText, type Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'

/**
 * Schema of `keys.runtime`: onnxruntime's files that pages may load. Also contains the files of earlier builds, because
 * open pages may still use them.
 */
export const runtimeList = z.array(
  z.object({
    sha256: z.string(),
    bytes: z.int(),
    mediaType: z.string(),
    /** Whether the upload was completed. */
    sent: z.boolean().default(false),
  }),
)
export type RuntimeList = z.infer<typeof runtimeList>

export async function readRuntimeList(storage: Storage): Promise<RuntimeList> {
  const stored = await readText(storage, keys.runtime)
  return stored === null ? [] : runtimeList.parse(JSON.parse(stored.text))
}
