import { readFile } from 'node:fs/promises'
import type { RuntimeFile } from '../../edge/build/bundle.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'

/** Stores onnxruntime's files under their hashes. They are not compressed, because this would take a minute. */
export async function storeRuntimeFiles(storage: Storage, files: readonly RuntimeFile[]): Promise<void> {
  for (const { path, sha256, mediaType } of files) {
    await storage.put(keys.file(sha256), await readFile(path), { mediaType, sha256 })
  }
}
