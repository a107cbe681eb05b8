import { formatManifest, type Manifest, storageKeys } from '@ddpm/shared'
import type { Bucket, HashedFile } from './bucket.ts'

/** A JSON object that names files by their hash. */
interface StoredRecord {
  key: string
  text: string
}

/** What an upload did to the record. */
export type Change = 'new' | 'changed' | 'unchanged'

/**
 * Puts files under their hashes and then the record that names them, so that whoever reads a record finds its
 * files. For the same reason a file that the stored record names needs no second sending.
 */
async function upload(bucket: Bucket, files: readonly HashedFile[], record: StoredRecord): Promise<Change> {
  const stored = await bucket.read(record.key)
  if (stored === record.text) return 'unchanged'
  for (const file of files) {
    if (!stored?.includes(file.sha256)) await bucket.putFile(storageKeys.file(file.sha256), file)
  }
  await bucket.putText(record.key, record.text)
  return stored === null ? 'new' : 'changed'
}

/** Publishes a model: its files, then its manifest under its name. */
export function uploadModel(
  bucket: Bucket,
  manifest: Manifest,
  files: readonly HashedFile[],
): Promise<Change> {
  return upload(bucket, files, { key: storageKeys.manifest(manifest.name), text: formatManifest(manifest) })
}

/** Puts onnxruntime-web's own files where the client looks for them. */
export function uploadRuntime(bucket: Bucket, files: readonly HashedFile[]): Promise<Change> {
  const sums = files.map(({ sha256, bytes, mediaType }) => ({ sha256, bytes, mediaType }))
  return upload(bucket, files, { key: 'runtime.json', text: `${JSON.stringify(sums, null, 2)}\n` })
}
