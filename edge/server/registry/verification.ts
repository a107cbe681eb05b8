import { verifiedChunks } from '../storage/content.ts'
import { ContentMismatch, type Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'

/** State of a stored file compared with its hash and length. */
export type FileState = 'intact' | 'damaged' | 'missing'

/** Reads a stored file completely and compares it with its hash and length. */
export async function verifyFile(
  storage: Storage,
  { sha256, bytes }: { sha256: string; bytes: number },
): Promise<FileState> {
  const object = await storage.read(keys.file(sha256))
  if (object === null) return 'missing'
  try {
    for await (const _ of verifiedChunks(keys.file(sha256), object.body, { sha256, bytes }));
    return 'intact'
  } catch (error) {
    if (error instanceof ContentMismatch) return 'damaged'
    throw error
  }
}
