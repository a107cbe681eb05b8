import { domains, normals, UserError, uniforms } from '@ddpm/shared'
import { formatShape, sizeOf } from '../algebra/shape-rules.ts'
import type { Initializer, ParameterSpec } from './layers.ts'

/** Where each trained parameter lies in one flat vector. */
export interface Layout {
  readonly entries: readonly (ParameterSpec & { readonly offset: number; readonly size: number })[]
  /** Number of trained parameters. */
  readonly size: number
  /** What the network reads but does not train: the table of the time embedding. */
  readonly tables: readonly ParameterSpec[]
}

/** Consecutive parameters, and where they lie together in the flat vector. */
export interface Chunk {
  readonly entries: Layout['entries']
  readonly start: number
  readonly end: number
  /** Of the chunk as a tensor: flat, or of its only parameter. */
  readonly shape: readonly number[]
}

/** The flat vector in pieces of about `target` elements, cut between parameters. */
export function chunksOf({ entries }: Layout, target: number): Chunk[] {
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

/** Every parameter for itself. */
export function singlesOf({ entries }: Layout): Chunk[] {
  return entries.map((entry) => {
    const { offset, size, shape } = entry
    return { entries: [entry], start: offset, end: offset + size, shape }
  })
}

/** Tensors by their name in the state_dict. */
export type NamedTensors = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly data: Float32Array }
>

export function layoutOf(specs: readonly ParameterSpec[]): Layout {
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

/** The parameters of a flat vector by name, as views of it. */
export function unflatten({ entries }: Layout, flat: Float32Array): NamedTensors {
  return new Map(
    entries.map(({ name, shape, offset, size }) => [
      name,
      { shape, data: flat.subarray(offset, offset + size) },
    ]),
  )
}

/**
 * Named tensors as one flat vector.
 * @param source what to call the tensors in messages
 * @throws UserError that names the first missing, misshapen and surplus tensors and counts the others
 */
export function flatten(layout: Layout, tensors: NamedTensors, source: string): Float32Array {
  const flat = new Float32Array(layout.size)
  const missing: string[] = []
  const misshapen: string[] = []
  const fitting = ({ name, shape, trained }: ParameterSpec): Float32Array | undefined => {
    const found = tensors.get(name)
    if (found && equalShapes(found.shape, shape)) return found.data
    if (found) misshapen.push(`${name} is ${formatShape(found.shape)}, expected ${formatShape(shape)}`)
    else if (trained) missing.push(`${name} ${formatShape(shape)}`)
    return undefined
  }
  for (const entry of layout.entries) flat.set(fitting(entry) ?? [], entry.offset)
  for (const table of layout.tables) fitting(table)
  const expected = new Set([...layout.entries, ...layout.tables].map(({ name }) => name))
  const surplus = [...tensors.keys()].filter((name) => !expected.has(name))
  const problems = Object.entries({ missing, misshapen, surplus }).flatMap(([kind, tensors]) => [
    ...tensors.slice(0, 5).map((tensor) => `\n  ${kind}: ${tensor}`),
    ...(tensors.length > 5 ? [`\n  ${kind}: and ${tensors.length - 5} more`] : []),
  ])
  if (problems.length === 0) return flat
  throw new UserError(
    `${source} does not fit the network with these arguments:${problems.join('')}\n` +
      'Check the arguments (channels, multiples, blocks, attention, classes) against those it was trained with.',
  )
}

function equalShapes(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis])
}

/** The tables by name, each entry by its formula, or as given in `tensors` where it holds them. */
export function tablesOf(layout: Layout, tensors: NamedTensors = new Map()): Map<string, Float32Array> {
  return new Map(
    layout.tables.map(({ name, shape, initializer }) => {
      if (initializer.kind !== 'table') throw new Error(`The table ${name} has no formula.`)
      const [, columns] = shape as [number, number]
      const formula = () =>
        Float32Array.from({ length: sizeOf(shape) }, (_, i) =>
          initializer.value(Math.floor(i / columns), i % columns),
        )
      return [name, tensors.get(name)?.data ?? formula()]
    }),
  )
}

/** How weights that do not start at zero or one do: see `Recipe`. */
export const initializations = ['pytorch', 'fanAverage'] as const
export type Initialization = (typeof initializations)[number]

/** Fresh parameters, a function of the seed alone. */
export function initialize(
  layout: Layout,
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
        normals(seed, { domain: domains.initialization, image: index, step: 0 }, flat, offset, size)
        break
      case 'uniform': {
        const drawn = uniforms(seed, { domain: domains.initialization, image: index, step: 0 }, size)
        for (let i = 0; i < size; i++) flat[offset + i] = (2 * drawn[i]! - 1) * initializer.bound
      }
    }
  }
  return flat
}

/**
 * What DDPM's own code starts with: U(−√(3/n), √(3/n)) with n = (fanIn + fanOut)/2, the mean of what goes into a weight's
 * layer and comes out of it, and biases at zero.
 */
function fanAverage({ name, shape, initializer }: ParameterSpec): Initializer {
  if (initializer.kind !== 'uniform') return initializer
  if (shape.length === 1) return { kind: 'constant', value: 0 }
  const [rows, inputs, ...kernel] = shape as [number, number, ...number[]]
  // One matrix holds the three projections of attention, which are layers of their own.
  const outputs = name.endsWith('in_proj_weight') ? rows / 3 : rows
  const n = ((inputs + outputs) / 2) * sizeOf(kernel)
  return { kind: 'uniform', bound: Math.sqrt(3 / n) }
}
