import { sameShape } from '../algebra/shape-rules.ts'
import type { NamedTensors, ParameterLayout } from './parameters.ts'

/** Name of the label embedding's table: a row per class and one for "no class". */
const labelTable = 'class_embedding.weight'

/** Weights to start from, and the classes of their label embedding. */
export interface SourceWeights {
  readonly tensors: NamedTensors
  readonly classes: readonly string[]
}

export interface Transfer {
  /** The flat vector with the transferred weights. */
  readonly parameters: Float32Array
  /** Number of transferred scalars, without those of the label embedding. */
  readonly taken: number
  /** Names of the parameters that keep their initial values, because the source has none of that name and shape. */
  readonly initialized: readonly string[]
  /** Classes whose embedding was transferred; null if the network has no classes. */
  readonly takenClasses: readonly string[] | null
}

/**
 * Copies the weights of another network into the parameters of the same name and shape. Rows of the label embedding are
 * copied by the name of the class. The row of a new class is random, with the mean and the standard deviation of the
 * source's classes: if all new classes started alike, it would take long to tell them apart. The rows are zero if the source
 * has no classes.
 * @param initial the flat vector of a new network, with a standard normal label embedding; it is not changed
 * @param classes classes of the new network
 */
export function transferWeights(
  { entries }: ParameterLayout,
  initial: Float32Array,
  source: SourceWeights,
  classes: readonly string[],
): Transfer {
  const parameters = initial.slice()
  const initialized: string[] = []
  let taken = 0
  let takenClasses: string[] | null = null
  for (const { name, shape, offset, size } of entries) {
    const tensor = source.tensors.get(name)
    if (name === labelTable) {
      const columns = shape[1] as number
      const table = tensor?.shape[1] === columns ? tensor.data : new Float32Array(columns)
      const sourceClasses = tensor?.shape[1] === columns ? source.classes : []
      const random = initial.subarray(offset, offset + size)
      parameters.set(labelRows(table, columns, sourceClasses, classes, random), offset)
      takenClasses = classes.filter((each) => sourceClasses.includes(each))
    } else if (tensor && sameShape(tensor.shape, shape)) {
      parameters.set(tensor.data, offset)
      taken += size
    } else initialized.push(name)
  }
  return { parameters, taken, initialized, takenClasses }
}

/**
 * Returns the label embedding of the new classes: [classes + 1, columns].
 * @param table the label embedding of the source, or zeros
 * @param random standard normal values, [classes + 1, columns]
 */
function labelRows(
  table: Float32Array,
  columns: number,
  from: readonly string[],
  to: readonly string[],
  random: Float32Array,
): Float32Array {
  const row = (label: number) => table.subarray(label * columns, (label + 1) * columns)
  const rows = new Float32Array((to.length + 1) * columns)
  const { mean, deviation } = statistics(table, columns, from.length)
  for (const [label, name] of [...to, null].entries()) {
    const source = name === null ? from.length : from.indexOf(name)
    for (let column = 0; column < columns; column++) {
      const at = label * columns + column
      rows[at] = source === -1 ? mean[column]! + deviation[column]! * random[at]! : row(source)[column]!
    }
  }
  return rows
}

/** Returns the mean and the standard deviation of each column over the first rows; zeros for no rows. */
function statistics(table: Float32Array, columns: number, rows: number) {
  const [mean, deviation] = [new Float32Array(columns), new Float32Array(columns)]
  for (let column = 0; column < columns; column++) {
    const values = Array.from({ length: rows }, (_, row) => table[row * columns + column]!)
    const average = (numbers: number[]) => numbers.reduce((sum, x) => sum + x, 0) / Math.max(1, rows)
    const center = average(values)
    mean[column] = center
    deviation[column] = Math.sqrt(average(values.map((x) => (x - center) ** 2)))
  }
  return { mean, deviation }
}
