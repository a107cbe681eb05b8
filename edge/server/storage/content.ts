import { createHash } from 'node:crypto'
import { type Content, ContentMismatch } from './storage.ts'

/**
 * Yields content in chunks and verifies its length and SHA-256 at the same time.
 * @throws ContentMismatch after the last chunk
 */
export async function* verifiedChunks(
  key: string,
  content: Content,
  expected: { readonly bytes?: number; readonly sha256?: string },
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of chunks(content)) {
    hash.update(chunk)
    bytes += chunk.length
    if (expected.bytes !== undefined && bytes > expected.bytes) break
    yield chunk
  }
  if (expected.bytes !== undefined && bytes !== expected.bytes) {
    const actual = bytes > expected.bytes ? 'more' : `${bytes}`
    throw new ContentMismatch(`Invalid content for ${key}: expected ${expected.bytes} bytes, got ${actual}.`)
  }
  const sha256 = hash.digest('hex')
  if (expected.sha256 !== undefined && sha256 !== expected.sha256) {
    throw new ContentMismatch(
      `Invalid content for ${key}: expected the SHA-256 ${expected.sha256}, got ${sha256}.`,
    )
  }
}

async function* chunks(content: Content): AsyncGenerator<Uint8Array> {
  if (typeof content === 'string') yield new TextEncoder().encode(content)
  else if (content instanceof Uint8Array) yield content
  else {
    const reader = content.getReader()
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        yield value
      }
    } finally {
      // Notifies the sender if reading ends early. cancel() rejects if the stream has failed already, which is ignored.
      reader.cancel().catch(() => {})
    }
  }
}
