import { createHash } from 'node:crypto'
import { type Content, Mismatch } from './storage.ts'

/** The chunks of what is to be written, whatever its form. */
export async function* chunks(content: Content): AsyncGenerator<Uint8Array> {
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
      // Lets the sender know where reading ends early; an already broken stream has nothing left to cancel.
      reader.cancel().catch(() => {})
    }
  }
}

/** Chunks as they come, counted and hashed; a difference from what was promised is thrown at their end. */
export async function* checked(
  key: string,
  content: Content,
  promised: { readonly bytes?: number; readonly sha256?: string },
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of chunks(content)) {
    hash.update(chunk)
    bytes += chunk.length
    if (promised.bytes !== undefined && bytes > promised.bytes) break
    yield chunk
  }
  if (promised.bytes !== undefined && bytes !== promised.bytes) {
    const found = bytes > promised.bytes ? 'more' : `${bytes}`
    throw new Mismatch(`Found ${found} bytes for ${key}; expected ${promised.bytes}.`)
  }
  const sha256 = hash.digest('hex')
  if (promised.sha256 !== undefined && sha256 !== promised.sha256) {
    throw new Mismatch(`Found contents with the SHA-256 ${sha256} for ${key}; expected ${promised.sha256}.`)
  }
}
