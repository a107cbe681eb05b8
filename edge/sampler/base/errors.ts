import { UserError } from '@ddpm/shared'

/** What can go wrong, for programs; the message tells people what was found and what to do. */
export type SamplerErrorCode =
  /** WebGPU was asked for and is not there. */
  | 'no-webgpu'
  /** Not even one picture at a time fits into memory. */
  | 'out-of-memory'
  /** The graphics card was taken away: a crash of its driver, or another program. */
  | 'device-lost'
  /** The device cannot run this network. */
  | 'unsupported'
  /** A file is not what its hash promises. */
  | 'hash-mismatch'
  /** No answer, or one that broke off and would not go on. */
  | 'offline'
  /** The server answered that it cannot answer. */
  | 'server'
  /** The browser has no room to keep the files. */
  | 'quota-exceeded'
  /** The server has no such model or file. */
  | 'not-found'
  /** An option that cannot be. */
  | 'bad-option'
  /** The page is not secure (https, localhost), without which downloads cannot be checked. */
  | 'insecure'
  /** The model was disposed of. */
  | 'disposed'

/** Something that whoever uses the module can mend, or react to by its code. */
export class SamplerError extends UserError {
  override readonly name = 'SamplerError'
  readonly code: SamplerErrorCode

  constructor(code: SamplerErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** An error on its way from the worker to the page. */
export interface Failure {
  /** null: a fault of the program. */
  readonly code: SamplerErrorCode | null
  readonly message: string
}

const outOfMemory = /bad_alloc|out of memory|OOM|allocation failed|failed to allocate/i

/** What the options of a caller and the errors of onnxruntime come to. */
export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof SamplerError) return { code: error.code, message }
  // What shared finds wrong are options and manifests.
  if (error instanceof UserError) return { code: 'bad-option', message }
  if (!outOfMemory.test(message)) return { code: null, message }
  const remedy = 'Draw fewer pictures at once, or close other pages.'
  return { code: 'out-of-memory', message: `This device ran out of memory (${message}). ${remedy}` }
}

export function errorOf({ code, message }: Failure): Error {
  return code === null ? new Error(message) : new SamplerError(code, message)
}
