import { UserError } from '@ddpm/shared'
import type { NamedTensors } from '../network/parameters.ts'

/** A file is not what was written: cut off, or changed. */
export class Damaged extends UserError {}

/** A safetensors file: an eight-byte length, a JSON header, then the tensors' bytes, little-endian. */
export interface Safetensors {
  readonly tensors: NamedTensors
  /** The header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>
}

interface HeaderEntry {
  readonly dtype: string
  readonly shape: number[]
  readonly data_offsets: [number, number]
}

/** The bytes of a file of float32 tensors. */
export function encodeSafetensors({ tensors, metadata }: Safetensors): Uint8Array {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {}
  let end = 0
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + data.byteLength] }
    end += data.byteLength
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  // Tensors start at a multiple of eight; the header is filled up with spaces, as the format allows.
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

/** How the types that a state_dict may hold become float32; the bytes begin at a multiple of eight. */
const readers: Record<string, { bytes: number; read: (buffer: ArrayBuffer) => Float32Array }> = {
  F32: { bytes: 4, read: (buffer) => new Float32Array(buffer) },
  F64: { bytes: 8, read: (buffer) => Float32Array.from(new Float64Array(buffer)) },
  I64: { bytes: 8, read: (buffer) => Float32Array.from(new BigInt64Array(buffer), Number) },
}

/**
 * Reads a file; F64 and I64 tensors are converted to float32.
 * @param source what to call the file in messages
 * @throws Damaged where the file is not whole and consistent; UserError where it holds other types
 */
export function decodeSafetensors(bytes: Uint8Array, source: string): Safetensors {
  const broken = (found: string) =>
    new Damaged(`${source} is not a whole safetensors file: ${found}. Get or make it again.`)
  if (bytes.length < 8) throw broken(`it has ${bytes.length} bytes, fewer than the 8 of the header's length`)
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  const headerLength = Number(length)
  const start = 8 + headerLength
  if (start > bytes.length) {
    throw broken(`its header should have ${headerLength} bytes, but the file ends after ${bytes.length}`)
  }
  let header: Record<string, unknown>
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)))
  } catch (error) {
    throw broken(`its header is not JSON (${(error as Error).message})`)
  }

  const tensors = new Map<string, { shape: number[]; data: Float32Array }>()
  const { __metadata__: metadata = {}, ...entries } = header
  for (const [name, entry] of Object.entries(entries as Record<string, HeaderEntry>)) {
    const reader = readers[entry?.dtype]
    if (!reader) {
      throw new UserError(
        `${source}: the tensor ${name} has the type ${entry?.dtype}; expected ${Object.keys(readers).join(', ')}. ` +
          'Save it as float32, as in tensor.float().',
      )
    }
    const size = entry.shape.reduce((a, b) => a * b, 1)
    const [from, to] = entry.data_offsets
    if (to - from !== size * reader.bytes) throw broken(`${name} has ${to - from} bytes for ${size} values`)
    if (start + to > bytes.length) throw broken(`${name} should end at byte ${start + to} of ${bytes.length}`)
    const own = new Uint8Array(bytes.subarray(start + from, start + to))
    tensors.set(name, { shape: entry.shape, data: reader.read(own.buffer) })
  }
  return { tensors, metadata: metadata as Record<string, string> }
}
