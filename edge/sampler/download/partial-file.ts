import { SamplerError } from '../base/errors.ts'
import type { HashedFile } from '../base/hashed-file.ts'

// Partial downloads are stored in the origin private file system (OPFS), because the Cache API accepts complete
// responses only.

const folderName = 'ddpm-parts'

/** The received bytes of a file: in memory, and on disk if the browser supports it, so that a later visit resumes. */
export interface PartialFile {
  /** Buffer of the final size. Only the first `received` bytes are valid. */
  readonly contents: Uint8Array<ArrayBuffer>
  readonly received: number
  /** @throws SamplerError 'hash-mismatch' if the file becomes larger than expected */
  add(chunk: Uint8Array): void
  /** Discards all received bytes. */
  clear(): void
  /** Closes the file on disk, and deletes it if the download is finished. */
  close(finished: boolean): Promise<void>
}

/**
 * Opens a partial download.
 * @param onDisk whether to resume from earlier bytes on disk, and to store new bytes there
 */
export async function openPartialFile({ sha256, bytes }: HashedFile, onDisk: boolean): Promise<PartialFile> {
  const contents = new Uint8Array(bytes)
  const folder = onDisk ? await createFolder() : null
  let disk = await openHandle(folder, sha256)
  let received = disk && disk.getSize() <= bytes ? disk.read(contents, { at: 0 }) : 0
  if (received === 0) disk?.truncate(0)
  return {
    contents,
    get received() {
      return received
    },
    add(chunk) {
      if (received + chunk.length > bytes) {
        const problem = `The file ${sha256} is larger than the ${bytes} bytes in its manifest`
        throw new SamplerError('hash-mismatch', `${problem}. The model has to be published again.`)
      }
      contents.set(chunk, received)
      try {
        disk?.write(chunk, { at: received })
      } catch {
        // The disk is full. The bytes in memory are sufficient for this visit.
        disk?.close()
        disk = null
      }
      received += chunk.length
    },
    clear() {
      received = 0
      disk?.truncate(0)
    },
    async close(finished) {
      disk?.close()
      if (finished) await folder?.removeEntry(sha256).catch(() => {})
    },
  }
}

/** Returns the size of all partial downloads on disk, in bytes. */
export async function partialBytes(): Promise<number> {
  const folder = await (await openRoot())?.getDirectoryHandle(folderName).catch(() => null)
  let sum = 0
  for await (const handle of folder?.values() ?? []) {
    if (handle.kind === 'file') sum += (await (handle as FileSystemFileHandle).getFile()).size
  }
  return sum
}

/** Deletes all partial downloads on disk. */
export async function purgePartialFiles(): Promise<void> {
  await (await openRoot())?.removeEntry(folderName, { recursive: true }).catch(() => {})
}

async function openHandle(
  folder: FileSystemDirectoryHandle | null,
  name: string,
): Promise<FileSystemSyncAccessHandle | null> {
  try {
    const file = await folder?.getFileHandle(name, { create: true })
    return (await file?.createSyncAccessHandle()) ?? null
  } catch {
    return null
  }
}

async function createFolder(): Promise<FileSystemDirectoryHandle | null> {
  return (await openRoot())?.getDirectoryHandle(folderName, { create: true }).catch(() => null) ?? null
}

/** Browsers may refuse access, for example in private windows. */
async function openRoot(): Promise<FileSystemDirectoryHandle | null> {
  try {
    return await navigator.storage.getDirectory()
  } catch {
    return null
  }
}
