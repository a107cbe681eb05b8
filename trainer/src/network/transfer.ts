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
 * copied by the name of the class. A new class starts with the row of "no class" (or zeros if the source has no classes), so
 * that the network at first predicts the same for every class.
 * @param initial the flat vector of a new network; it is not changed
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
      parameters.set(labelRows(table, columns, sourceClasses, classes), offset)
      takenClasses = classes.filter((each) => sourceClasses.includes(each))
    } else if (tensor && sameShape(tensor.shape, shape)) {
      parameters.set(tensor.data, offset)
      taken += size
    } else initialized.push(name)
  }
  return { parameters, taken, initialized, takenClasses }
}

/** Returns the label embedding of the new classes: [classes + 1, columns]. */
function labelRows(
  table: Float32Array,
  columns: number,
  from: readonly string[],
  to: readonly string[],
): Float32Array {
  const row = (label: number) => table.subarray(label * columns, (label + 1) * columns)
  const rows = new Float32Array((to.length + 1) * columns)
  for (const [label, name] of [...to, null].entries()) {
    const source = name === null ? -1 : from.indexOf(name)
    rows.set(row(source === -1 ? from.length : source), label * columns)
  }
  return rows
}
