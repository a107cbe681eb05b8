import { computeSha256 } from '../base/hashed-file.ts'

// Proposed browser API for files that several sites need: https://github.com/WICG/cross-origin-storage. Browsers without
// it download the file once per site. Models are not stored there: their presence would reveal which site was visited.

type GetFileHandle = (
  hash: { readonly algorithm: 'SHA-256'; readonly value: string },
  options?: { readonly create: true; readonly origins: '*' },
) => Promise<FileSystemFileHandle>

interface CrossOriginStorage {
  readonly getFileHandle?: GetFileHandle
  /** Name of the method in earlier drafts. */
  readonly requestFileHandle?: GetFileHandle
}

/** Returns a file that this or another site has stored, or null if there is none. Checks its hash. */
export async function readShared(sha256: string): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    const handle = await getFileHandle({ algorithm: 'SHA-256', value: sha256 })
    const contents = await (await handle?.getFile())?.arrayBuffer()
    return contents && (await computeSha256(contents)) === sha256 ? new Uint8Array(contents) : null
  } catch {
    // The file is not stored, or the page's permissions policy denies access.
    return null
  }
}

/** Stores a public file for all sites, if the browser supports it and has room. */
export async function share(sha256: string, contents: Uint8Array<ArrayBuffer>): Promise<void> {
  try {
    const handle = await getFileHandle(
      { algorithm: 'SHA-256', value: sha256 },
      { create: true, origins: '*' },
    )
    const writable = await handle?.createWritable()
    await writable?.write(contents)
    await writable?.close()
  } catch {
    // Sharing is an optimisation: the site's own cache has the file.
  }
}

const getFileHandle = async (...request: Parameters<GetFileHandle>) => {
  const storage = (navigator as { crossOriginStorage?: CrossOriginStorage }).crossOriginStorage
  return (storage?.getFileHandle ?? storage?.requestFileHandle)?.apply(storage, request)
}
