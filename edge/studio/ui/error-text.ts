import { SamplerError, type SamplerErrorCode, UserError } from 'ddpm-sampler'

export interface ErrorText {
  /** What is wrong and what to do, in one sentence. */
  readonly sentence: string
  /** Hashes, addresses and other details; null if there are none. */
  readonly details: string | null
}

/** Explanations for visitors. The messages of these errors contain hashes and addresses, which become the details. */
const sentences: { readonly [C in SamplerErrorCode]?: string } = {
  'device-lost':
    'The graphics card was reset: generate again, or choose the device “WebAssembly” under “Advanced”.',
  'hash-mismatch': 'A file of this model is damaged on the server: choose another model, or try again later.',
  'no-webgpu':
    'This browser offers no WebGPU: choose the device “automatic” or “WebAssembly” under “Advanced”.',
  'not-found': 'The server has no such model, or a file of it is missing: choose another model.',
  offline: 'The server cannot be reached: check the network connection, and try again.',
  'out-of-memory': 'This device ran out of memory: generate fewer images at once, or close other pages.',
  'quota-exceeded': 'This browser has no room for the model: free some storage, and try again.',
  server: 'The server reported an error: try again in a minute.',
  unsupported: 'This device cannot run this model: choose another device under “Advanced”, or another model.',
}

/** Converts an error to one sentence for visitors, and its details. */
export function explainError(error: unknown): ErrorText {
  const message = error instanceof Error ? error.message : String(error)
  const sentence = error instanceof SamplerError ? sentences[error.code] : undefined
  if (sentence !== undefined) return { sentence, details: message }
  if (!(error instanceof UserError)) {
    return { sentence: 'Something went wrong: reload the page, and try again.', details: message }
  }
  // A sentence ends at a full stop before a space and a capital letter, or at a line break.
  const [first = '', ...rest] = message.split(/(?<=[.!?])\s+(?=\p{Lu})|\n+/u)
  return { sentence: first, details: rest.length > 0 ? rest.join(' ') : null }
}
