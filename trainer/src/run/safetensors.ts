import { UserError } from '@ddpm/shared'
import type { NamedTensors } from '../network/parameters.ts'

/** A file is truncated or corrupted. */
export class DamagedFileError extends UserError {}

/** A safetensors file: an 8-byte header length, a JSON header, and the bytes of the tensors, little-endian. */
export interface Safetensors {
  readonly tensors: NamedTensors
  /** `__metadata__` of the header. */
  readonly metadata: Readonly<Record<string, string>>
}

interface HeaderEntry {
  readonly dtype: string
  readonly shape: number[]
  readonly data_offsets: [number, number]
}

/** Encodes float32 tensors as a safetensors file. */
export function encodeSafetensors({ tensors, metadata }: Safetensors): Uint8Array {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {}
  let end = 0
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + data.byteLength] }
    end += data.byteLength
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  // The header is padded with spaces, as the format allows, so that the tensors start at a multiple of 8.
  const start = 8 + Math.ceil(json.length / 8) * 8
  const bytes = new Uint8Array(start + end).fill(0x20, 8, start)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true)
  bytes.set(json, 8)
  let offset = start
  for (const { data } of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset)
    offset += data.byteLength
  }
  return bytes
}

/** Converts the types that a state_dict may contain to float32. Each buffer contains one tensor. */
const readers: Record<string, { bytes: number; read: (buffer: ArrayBuffer) => Float32Array }> = {
  F32: { bytes: 4, read: (buffer) => new Float32Array(buffer) },
  F64: { bytes: 8, read: (buffer) => Float32Array.from(new Float64Array(buffer)) },
  I64: { bytes: 8, read: (buffer) => Float32Array.from(new BigInt64Array(buffer), Number) },
}

/**
 * Decodes a safetensors file. F64 and I64 tensors are converted to float32.
 * @param source name of the file, for messages
 * @throws DamagedFileError if the file is truncated or inconsistent; UserError if it contains other types
 */
export function decodeSafetensors(bytes: Uint8Array, source: string): Safetensors {
  const damaged = (reason: string) =>
    new DamagedFileError(`${source} is a damaged safetensors file: ${reason}. Restore it from a backup.`)
  if (bytes.length < 8) throw damaged(`expected at least 8 bytes, got ${bytes.length}`)
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  const headerLength = Number(length)
  const start = 8 + headerLength
  if (start > bytes.length) {
    throw damaged(`its header has ${headerLength} bytes, but the file ends after ${bytes.length}`)
  }
  let header: Record<string, unknown>
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)))
  } catch (error) {
    throw damaged(`its header is not JSON (${(error as Error).message})`)
  }

  const tensors = new Map<string, { shape: number[]; data: Float32Array }>()
  const { __metadata__: metadata = {}, ...entries } = header
  for (const [name, entry] of Object.entries(entries as Record<string, HeaderEntry>)) {
    const reader = readers[entry?.dtype]
    if (!reader) {
      throw new UserError(
        `Invalid type ${entry?.dtype} of tensor ${name} in ${source}: expected ${Object.keys(readers).join(', ')}. ` +
          'Save it as float32, for example with tensor.float().',
      )
    }
    const size = entry.shape.reduce((a, b) => a * b, 1)
    const [from, to] = entry.data_offsets
    if (to - from !== size * reader.bytes)
      throw damaged(`${name} has ${to - from} bytes for ${size} values of ${reader.bytes} bytes`)
    if (start + to > bytes.length)
      throw damaged(`${name} ends at byte ${start + to}, but the file at ${bytes.length}`)
    const copy = new Uint8Array(bytes.subarray(start + from, start + to))
    tensors.set(name, { shape: entry.shape, data: reader.read(copy.buffer) })
  }
  return { tensors, metadata: metadata as Record<string, string> }
}
