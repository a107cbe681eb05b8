import { type Node, type OpNode, reachable } from '../../algebra/graph.ts'
import { createGraphBuilder, type Dialect, type GraphBuilder } from './emit/emitter.ts'
import { dataTypes, encodeModel, type TensorMessage, type ValueInfoMessage } from './emit/schema.ts'
import { toHalf } from './half.ts'
import { lower } from './lower.ts'
import { createBlockedLowering } from './nchwc/lower.ts'

export interface ModelOptions {
  readonly dialect: Dialect
  /**
   * Number of channels per block of onnxruntime's private blocked layout (nchwc/lower.ts). null disables the layout.
   * Default: null. The layout requires the dialect 'onnxruntime' and a known batch size.
   */
  readonly blockWidth?: number | null
  /** Values of inputs that are stored in the model as initializers, by name. */
  readonly weights?: ReadonlyMap<string, Float32Array>
  /**
   * Stores weights with more than one axis in half precision and casts them to float32 when a session starts. Biases,
   * norms and all arithmetic remain in float32. Default: false.
   */
  readonly half?: boolean
  readonly metadata?: Readonly<Record<string, string>>
}

/** Operator set 17 is the first with LayerNormalization, which training on WebGPU needs. Its IR version is 8. */
const opset = 17
const irVersion = 8

/**
 * Compiles a graph to an ONNX file. Inputs that no output depends on are omitted.
 * @param outputs nodes by the name of the model's output
 * @returns the bytes of the file
 */
export function toOnnx(outputs: Readonly<Record<string, Node>>, options: ModelOptions): Uint8Array {
  const nodes = reachable(Object.values(outputs))
  const readers = findReaders(nodes, Object.values(outputs))
  const builder = createGraphBuilder(options.dialect, (node) => readers.get(node) ?? [])
  const blockWidth = options.blockWidth ?? null
  const lowerBlocked = blockWidth === null ? null : createBlockedLowering(builder, blockWidth)
  const inputs: ValueInfoMessage[] = []

  for (const node of nodes) {
    switch (node.kind) {
      case 'input': {
        builder.define(node, () => node.name)
        const values = options.weights?.get(node.name)
        if (values === undefined) inputs.push(valueInfo(node.name, node))
        else if (options.half && node.shape.length > 1) {
          const name = `${node.name}/half`
          builder.initializers.push(initializer(name, node, toHalf(values)))
          builder.emit('Cast', [name], { to: dataTypes.float }, { outputs: [node.name] })
        } else builder.initializers.push(initializer(node.name, node, values))
        break
      }
      case 'constant': {
        const name = builder.float(node.values, node.shape as number[])
        builder.define(node, () => name)
        break
      }
      case 'op':
        if (!lowerBlocked?.(node)) {
          const name = lower(builder, node)
          builder.define(node, () => name)
        }
    }
  }
  nameOutputs(builder, outputs)
  dropUnused(builder, outputs)

  return encodeModel({
    irVersion,
    producerName: 'ddpm',
    producerVersion: '0.1.0',
    opsetImport: [
      { domain: '', version: opset },
      ...[...new Set(builder.nodes.map(({ domain }) => domain))]
        .filter((domain) => domain !== '')
        .map((domain) => ({ domain, version: 1 })),
    ],
    metadataProps: Object.entries(options.metadata ?? {}).map(([key, value]) => ({ key, value })),
    graph: {
      name: 'ddpm',
      node: builder.nodes,
      initializer: builder.initializers,
      input: inputs,
      output: Object.entries(outputs).map(([name, node]) => valueInfo(name, node)),
    },
  })
}

function findReaders(nodes: readonly Node[], outputs: readonly Node[]): ReadonlyMap<Node, (OpNode | null)[]> {
  const readers = new Map<Node, (OpNode | null)[]>()
  const add = (node: Node, reader: OpNode | null) => {
    const list = readers.get(node)
    if (list) list.push(reader)
    else readers.set(node, [reader])
  }
  for (const node of nodes) if (node.kind === 'op') for (const input of node.inputs) add(input, node)
  for (const node of outputs) add(node, null)
  return readers
}

/**
 * Renames the tensors that are outputs of the model. An Identity operator would copy its input. It is used only for outputs
 * that no operator computes (inputs and constants) and for a second name of the same tensor.
 */
function nameOutputs(builder: GraphBuilder, outputs: Readonly<Record<string, Node>>): void {
  const computed = new Set(builder.nodes.flatMap(({ output }) => output))
  const renamed = new Map<string, string>()
  for (const [name, node] of Object.entries(outputs)) {
    const tensor = builder.nameOf(node)
    if (computed.has(tensor) && !renamed.has(tensor)) renamed.set(tensor, name)
    else builder.emit('Identity', [tensor], {}, { outputs: [name] })
  }
  const rename = (tensor: string) => renamed.get(tensor) ?? tensor
  for (const node of builder.nodes) {
    node.input = node.input.map(rename)
    node.output = node.output.map(rename)
  }
}

/**
 * Removes what is not read:
 * - operators without readers, such as layout conversions that were emitted but not used
 * - optional outputs at the end of an operator's list, which some execution providers do not support
 */
function dropUnused({ nodes }: GraphBuilder, outputs: Readonly<Record<string, Node>>): void {
  const read = new Set(Object.keys(outputs))
  const used = nodes
    .toReversed()
    .filter(({ input, output }) => {
      if (!output.some((name) => read.has(name))) return false
      while (output.length > 1 && !read.has(output.at(-1)!)) output.pop()
      for (const name of input) read.add(name)
      return true
    })
    .reverse()
  nodes.splice(0, nodes.length, ...used)
}

function initializer(name: string, { shape }: Node, values: Float32Array | Uint16Array): TensorMessage {
  return {
    name,
    dims: shape as number[],
    dataType: values instanceof Float32Array ? dataTypes.float : dataTypes.float16,
    rawData: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  }
}

function valueInfo(name: string, { shape }: Node): ValueInfoMessage {
  const dim = shape.map((size) => (size === 'N' ? { dimParam: 'N' } : { dimValue: size }))
  return { name, type: { tensorType: { elemType: dataTypes.float, shape: { dim } } } }
}
