import { domains, fillNormals } from '@ddpm/shared/random'

/** A multilayer perceptron: linear layers with SiLU between them. */
export interface Mlp {
  /**
   * Number of values of the input, of each hidden layer and of the output. The output's is even, the others are multiples
   * of 4.
   */
  readonly sizes: readonly number[]
  /**
   * All weights and biases in one array, so that an optimizer needs one loop. For each layer: weights [inputs, outputs],
   * then biases [outputs]. Float64, because JavaScript computes in float64 and conversions take time.
   */
  readonly parameters: Float64Array
}

/** The values of a forward pass that the backward pass needs. */
export interface ForwardPass {
  /** Number of inputs, a multiple of 4. */
  readonly count: number
  /** Input of each layer, [count, inputs]. */
  readonly inputs: readonly Float64Array[]
  /** Derivative of SiLU for each value of each hidden layer, [count, outputs]. */
  readonly slopes: readonly Float64Array[]
  /** Output of the last layer, [count, outputs]. */
  readonly output: Float64Array
}

/**
 * Creates a perceptron with random weights of variance 1/inputs, which preserves the scale of the values, and biases 0.
 * @param sizes see `Mlp`
 */
export function createMlp(sizes: readonly number[], seed: number): Mlp {
  const layers = layersOf(sizes)
  const parameters = new Float64Array(layers.at(-1)!.end)
  for (const [image, { inputs, weights, biases }] of layers.entries()) {
    const normals = new Float32Array(biases - weights)
    fillNormals(seed, { domain: domains.initialization, image, step: 0 }, normals)
    for (let i = 0; i < normals.length; i++) parameters[weights + i] = normals[i]! / Math.sqrt(inputs)
  }
  return { sizes, parameters }
}

/**
 * Runs a forward pass: h ← SiLU(h·W + b) for the hidden layers, h·W + b for the last one. SiLU(z) = z·σ(z) with
 * σ(z) = 1/(1 + e⁻ᶻ).
 * @param input [count, sizes[0]]
 * @param count a multiple of 4
 */
export function forward({ sizes, parameters }: Mlp, input: Float64Array, count: number): ForwardPass {
  const inputs = [input]
  const slopes: Float64Array[] = []
  let output = input
  for (const [index, layer] of layersOf(sizes).entries()) {
    output = linear(parameters, layer, output, count)
    if (index === sizes.length - 2) break
    const slope = new Float64Array(output.length)
    for (let i = 0; i < output.length; i++) {
      const z = output[i]!
      const sigmoid = 1 / (1 + Math.exp(-z))
      output[i] = z * sigmoid
      slope[i] = sigmoid * (1 + z * (1 - sigmoid))
    }
    slopes.push(slope)
    inputs.push(output)
  }
  return { count, inputs, slopes, output }
}

/**
 * Computes the gradient of a loss for all parameters. With dy, the gradient for the output of a layer: dW = xᵀ·dy,
 * db = Σ dy over the inputs, dx = dy·Wᵀ.
 * @param outputGradient gradient for the output, [count, outputs]
 * @returns the layout of `parameters`
 */
export function backward(
  { sizes, parameters }: Mlp,
  { count, inputs, slopes }: ForwardPass,
  outputGradient: Float64Array,
): Float64Array {
  const gradient = new Float64Array(parameters.length)
  let dy = outputGradient
  const layers = layersOf(sizes)
  for (let index = layers.length - 1; index >= 0; index--) {
    const { inputs: rows, outputs: columns, weights, biases } = layers[index]!
    const x = rowMajor(inputs[index]!, rows)
    addProduct(rowMajor(gradient, columns, weights), transpose(x), rowMajor(dy, columns), [
      rows,
      count,
      columns,
    ])
    for (let i = 0; i < dy.length; i++) gradient[biases + (i % columns)]! += dy[i]!
    if (index === 0) break
    const dx = new Float64Array(count * rows)
    const w = rowMajor(parameters, columns, weights)
    addProduct(rowMajor(dx, rows), rowMajor(dy, columns), transpose(w), [count, columns, rows])
    const slope = slopes[index - 1]!
    for (let i = 0; i < dx.length; i++) dx[i]! *= slope[i]!
    dy = dx
  }
  return gradient
}

/** Where the parameters of a layer are: weights [inputs, outputs] from `weights`, biases [outputs] from `biases`. */
interface Layer {
  readonly inputs: number
  readonly outputs: number
  readonly weights: number
  readonly biases: number
  readonly end: number
}

function layersOf(sizes: readonly number[]): Layer[] {
  let end = 0
  return sizes.slice(1).map((outputs, index) => {
    const inputs = sizes[index]!
    const weights = end
    const biases = weights + inputs * outputs
    end = biases + outputs
    return { inputs, outputs, weights, biases, end }
  })
}

/** Returns x·W + b, [count, outputs]. */
function linear(
  parameters: Float64Array,
  { inputs, outputs, weights, biases }: Layer,
  x: Float64Array,
  count: number,
): Float64Array {
  const out = new Float64Array(count * outputs)
  for (let i = 0; i < out.length; i++) out[i] = parameters[biases + (i % outputs)]!
  addProduct(rowMajor(out, outputs), rowMajor(x, inputs), rowMajor(parameters, outputs, weights), [
    count,
    inputs,
    outputs,
  ])
  return out
}

/** A matrix in an array. The element (i, j) is at offset + i·rowStride + j·columnStride. */
interface Matrix {
  readonly values: Float64Array
  readonly offset: number
  readonly rowStride: number
  readonly columnStride: number
}

function rowMajor(values: Float64Array, columns: number, offset = 0): Matrix {
  return { values, offset, rowStride: columns, columnStride: 1 }
}

function transpose({ rowStride, columnStride, ...matrix }: Matrix): Matrix {
  return { ...matrix, rowStride: columnStride, columnStride: rowStride }
}

/**
 * Adds a·b to out, in blocks of 4 × 2 elements: each value that is read is then used several times.
 * @param out [rows, columns], row-major
 * @param a [rows, inner]
 * @param b [inner, columns]
 * @param sizes rows is a multiple of 4, columns of 2
 */
function addProduct(
  out: Matrix,
  a: Matrix,
  b: Matrix,
  [rows, inner, columns]: readonly [rows: number, inner: number, columns: number],
): void {
  const [x, y, z] = [a.values, b.values, out.values]
  const { rowStride: aRow, columnStride: aColumn } = a
  const { rowStride: bRow, columnStride: bColumn } = b
  for (let row = 0; row < rows; row += 4) {
    for (let column = 0; column < columns; column += 2) {
      let sum00 = 0
      let sum01 = 0
      let sum10 = 0
      let sum11 = 0
      let sum20 = 0
      let sum21 = 0
      let sum30 = 0
      let sum31 = 0
      let i = a.offset + row * aRow
      let j = b.offset + column * bColumn
      for (let k = 0; k < inner; k++) {
        const y0 = y[j]!
        const y1 = y[j + bColumn]!
        const x0 = x[i]!
        const x1 = x[i + aRow]!
        const x2 = x[i + 2 * aRow]!
        const x3 = x[i + 3 * aRow]!
        sum00 += x0 * y0
        sum01 += x0 * y1
        sum10 += x1 * y0
        sum11 += x1 * y1
        sum20 += x2 * y0
        sum21 += x2 * y1
        sum30 += x3 * y0
        sum31 += x3 * y1
        i += aColumn
        j += bRow
      }
      const o = out.offset + row * out.rowStride + column
      const { rowStride } = out
      z[o]! += sum00
      z[o + 1]! += sum01
      z[o + rowStride]! += sum10
      z[o + rowStride + 1]! += sum11
      z[o + 2 * rowStride]! += sum20
      z[o + 2 * rowStride + 1]! += sum21
      z[o + 3 * rowStride]! += sum30
      z[o + 3 * rowStride + 1]! += sum31
    }
  }
}
