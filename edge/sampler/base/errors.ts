import { UserError } from '@ddpm/shared'

/** Machine-readable error codes. The message of an error explains the problem and the remedy to people. */
export type SamplerErrorCode =
  /** WebGPU was requested but is not available. */
  | 'no-webgpu'
  /** Not even one image at a time fits into memory. */
  | 'out-of-memory'
  /** The GPU was lost, for example because its driver crashed. */
  | 'device-lost'
  /** The device cannot run this model. */
  | 'unsupported'
  /** The content of a file does not match its SHA-256. */
  | 'hash-mismatch'
  /** The server cannot be reached, or a download failed after all retries. */
  | 'offline'
  /** The server returned an error status. */
  | 'server'
  /** The browser has no room to cache the files. */
  | 'quota-exceeded'
  /** The server has no such model or file. */
  | 'not-found'
  /** An option is invalid. */
  | 'bad-option'
  /** The page is not a secure context (https or localhost), so downloads cannot be verified. */
  | 'insecure'
  /** The model was disposed. */
  | 'disposed'

/** An error that the caller can fix, or handle by its code. */
export class SamplerError extends UserError {
  override readonly name = 'SamplerError'
  readonly code: SamplerErrorCode

  constructor(code: SamplerErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** An error as plain data, for messages from the worker to the page. */
export interface Failure {
  /** null for bugs and other unexpected errors. */
  readonly code: SamplerErrorCode | null
  readonly message: string
}

const outOfMemory = /bad_alloc|out of memory|OOM|allocation failed|failed to allocate/i

/** Converts an error to a `Failure`, and detects onnxruntime's out-of-memory errors by their message. */
export function toFailure(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof SamplerError) return { code: error.code, message }
  // The shared package throws UserError only for invalid options and manifests.
  if (error instanceof UserError) return { code: 'bad-option', message }
  if (!outOfMemory.test(message)) return { code: null, message }
  const remedy = 'Generate fewer images at once, or close other pages.'
  return { code: 'out-of-memory', message: `This device ran out of memory (${message}). ${remedy}` }
}

/** Converts a `Failure` back to an error. */
export function fromFailure({ code, message }: Failure): Error {
  return code === null ? new Error(message) : new SamplerError(code, message)
}
