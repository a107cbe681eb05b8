import { domains, fillNormals, UserError, uniforms } from '@ddpm/shared'
import { formatShape, sameShape, sizeOf } from '../algebra/shape-rules.ts'
import type { Initializer, ParameterSpec } from './layers.ts'

/** Positions of the trained parameters in one flat vector. */
export interface ParameterLayout {
  readonly entries: readonly (ParameterSpec & { readonly offset: number; readonly size: number })[]
  /** Length of the vector: the number of trained scalars. */
  readonly size: number
  /** Tensors that are not trained, such as the table of the time embedding. */
  readonly tables: readonly ParameterSpec[]
}

/** Consecutive parameters and their joint range in the flat vector. */
export interface Chunk {
  readonly entries: ParameterLayout['entries']
  readonly start: number
  readonly end: number
  /** Shape of the chunk as one tensor: [end − start], or the shape of its only parameter. */
  readonly shape: readonly number[]
}

/** Splits the flat vector into chunks of whole parameters. Each chunk except the last has at least `target` elements. */
export function splitIntoChunks({ entries }: ParameterLayout, target: number): Chunk[] {
  const chunks: Chunk[] = []
  let first = 0
  for (const [i, { offset, size }] of entries.entries()) {
    const start = entries[first]!.offset
    const end = offset + size
    if (end - start < target && i < entries.length - 1) continue
    chunks.push({ entries: entries.slice(first, i + 1), start, end, shape: [end - start] })
    first = i + 1
  }
  return chunks
}

/** Splits the flat vector into one chunk per parameter. */
export function splitPerParameter({ entries }: ParameterLayout): Chunk[] {
  return entries.map((entry) => {
    const { offset, size, shape } = entry
    return { entries: [entry], start: offset, end: offset + size, shape }
  })
}

/** Tensors by name in the state_dict. */
export type NamedTensors = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly data: Float32Array }
>

/** Assigns every trained parameter a range of the flat vector, in the order of the list. */
export function createParameterLayout(specs: readonly ParameterSpec[]): ParameterLayout {
  let size = 0
  const entries = specs
    .filter(({ trained }) => trained)
    .map((spec) => {
      const entry = { ...spec, offset: size, size: sizeOf(spec.shape) }
      size += entry.size
      return entry
    })
  return { entries, size, tables: specs.filter(({ trained }) => !trained) }
}

/** Returns the parameters of a flat vector by name, as views of it. */
export function unflatten({ entries }: ParameterLayout, flat: Float32Array): NamedTensors {
  return new Map(
    entries.map(({ name, shape, offset, size }) => [
      name,
      { shape, data: flat.subarray(offset, offset + size) },
    ]),
  )
}

/**
 * Copies named tensors into one flat vector.
 * @param source where the tensors come from, such as a file name, for error messages
 * @throws UserError if tensors are missing, unexpected or of the wrong shape. It lists up to five of each kind.
 */
export function flatten(layout: ParameterLayout, tensors: NamedTensors, source: string): Float32Array {
  const flat = new Float32Array(layout.size)
  const missing: string[] = []
  const mismatched: string[] = []
  const matching = ({ name, shape, trained }: ParameterSpec): Float32Array | undefined => {
    const tensor = tensors.get(name)
    if (tensor && sameShape(tensor.shape, shape)) return tensor.data
    if (tensor) mismatched.push(`${name} is ${formatShape(tensor.shape)}, expected ${formatShape(shape)}`)
    else if (trained) missing.push(`${name} ${formatShape(shape)}`)
    return undefined
  }
  for (const entry of layout.entries) flat.set(matching(entry) ?? [], entry.offset)
  for (const table of layout.tables) matching(table)
  const expected = new Set([...layout.entries, ...layout.tables].map(({ name }) => name))
  const unexpected = [...tensors.keys()].filter((name) => !expected.has(name))
  const problems = Object.entries({ missing, 'wrong shape': mismatched, unexpected }).flatMap(
    ([problem, names]) => [
      ...names.slice(0, 5).map((name) => `\n  ${problem}: ${name}`),
      ...(names.length > 5 ? [`\n  ${problem}: and ${names.length - 5} more`] : []),
    ],
  )
  if (problems.length === 0) return flat
  throw new UserError(
    `Cannot load ${source}: its tensors do not match the network configuration:${problems.join('')}\n` +
      'Use the configuration it was trained with (channels, multiples, blocks, attention, classes).',
  )
}

/** Returns the tables by name. Tables that are not in `tensors` are computed by their formulas. */
export function createTables(
  layout: ParameterLayout,
  tensors: NamedTensors = new Map(),
): Map<string, Float32Array> {
  return new Map(
    layout.tables.map(({ name, shape, initializer }) => {
      if (initializer.kind !== 'table') throw new Error(`Table ${name} has no formula.`)
      const [, columns] = shape as [number, number]
      const compute = () =>
        Float32Array.from({ length: sizeOf(shape) }, (_, i) =>
          initializer.value(Math.floor(i / columns), i % columns),
        )
      return [name, tensors.get(name)?.data ?? compute()]
    }),
  )
}

/** Random initializations of the weights: PyTorch's defaults, or that of DDPM's published code (`fanAverage`). */
export const initializations = ['pytorch', 'fanAverage'] as const
export type Initialization = (typeof initializations)[number]

/** Computes the initial flat vector. It depends only on the layout, the seed and the initialization. */
export function initialize(
  layout: ParameterLayout,
  seed: number,
  initialization: Initialization = 'pytorch',
): Float32Array {
  const flat = new Float32Array(layout.size)
  for (const [index, entry] of layout.entries.entries()) {
    const { offset, size } = entry
    const initializer = initialization === 'pytorch' ? entry.initializer : fanAverage(entry)
    switch (initializer.kind) {
      case 'constant':
        flat.fill(initializer.value, offset, offset + size)
        break
      case 'normal':
        fillNormals(seed, { domain: domains.initialization, image: index, step: 0 }, flat, offset, size)
        break
      case 'uniform': {
        const samples = uniforms(seed, { domain: domains.initialization, image: index, step: 0 }, size)
        for (let i = 0; i < size; i++) flat[offset + i] = (2 * samples[i]! - 1) * initializer.bound
      }
    }
  }
  return flat
}

/**
 * Returns the initializer of DDPM's published code (`default_init`): U(−√(3/n), √(3/n)) with n = (fanIn + fanOut)/2 for
 * weights, zero for biases.
 */
function fanAverage({ name, shape, initializer }: ParameterSpec): Initializer {
  if (initializer.kind !== 'uniform') return initializer
  if (shape.length === 1) return { kind: 'constant', value: 0 }
  const [rows, inputs, ...kernel] = shape as [number, number, ...number[]]
  // in_proj_weight concatenates the projections of q, k and v. The published code has a layer for each of them.
  const outputs = name.endsWith('in_proj_weight') ? rows / 3 : rows
  const n = ((inputs + outputs) / 2) * sizeOf(kernel)
  return { kind: 'uniform', bound: Math.sqrt(3 / n) }
}
