/** A file whose content is known by its hash. */
export interface HashedFile {
  readonly url: string
  /** URL of the file in the cache. Default: `url`. */
  readonly cacheUrl?: string
  readonly sha256: string
  readonly bytes: number
  /**
   * Whether the server's entity tag of the file is its hash. If so, ranges are requested with the precondition If-Range.
   * Other sites may not send this header to every server.
   */
  readonly hasHashTag: boolean
  /** Bytes that a compressing server sends, if the response does not have a length. Default: `bytes`. */
  readonly wireBytes?: number
  /** Whether the browser's HTTP cache may store the file too, for `compileFromHttpCache`. Default: false. */
  readonly inHttpCache?: boolean
  /** Purpose of the file. The cache retains one file per purpose, so a new version of a model replaces the old one. */
  readonly purpose: string
}

/**
 * Returns the purpose of a file in the cache. It includes the server, because several can share the page's origin.
 * @param subject name of a model, or of a build of onnxruntime
 */
export const purposeOf = (server: string, subject: string): string => `${server}/${subject}`

/** Returns the address of a file of a model's server. */
export const fileUrl = (server: string, { sha256 }: { readonly sha256: string }): string =>
  `${server}/files/${sha256}`

/** Computes the SHA-256 of a file, in hexadecimal. */
export async function computeSha256(contents: BufferSource): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', contents))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
