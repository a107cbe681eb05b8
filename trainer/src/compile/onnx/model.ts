import { type Node, type OpNode, reachable } from '../../algebra/graph.ts'
import { createEmission, type Dialect, type Emission } from './emit/emitter.ts'
import { dataTypes, encodeModel, type ValueInfoMessage } from './emit/schema.ts'
import { toHalf } from './half.ts'
import { lower } from './lower.ts'
import { recorded } from './nchwc/layout.ts'

export interface ModelOptions {
  readonly dialect: Dialect
  /** Convolutions in onnxruntime's blocked layout of so many channels a block; none unless told. */
  readonly blockWidth?: number | null
  /** Inputs that are held inside the model: name and values. */
  readonly weights?: ReadonlyMap<string, Float32Array>
  /**
   * Stores what weighs, weights of more than one axis, in half precision, and casts it when a session starts; biases and
   * norms stay as they are, and so does all arithmetic.
   */
  readonly half?: boolean
  readonly metadata?: Readonly<Record<string, string>>
}

/** Operator set 17 is the first with LayerNormalization, which training on WebGPU needs; IR version 8 came with it. */
const opset = 17
const irVersion = 8

/**
 * A graph as an ONNX file. Inputs that no output depends on are left out.
 * @param outputs name → node
 */
export function toOnnx(outputs: Readonly<Record<string, Node>>, options: ModelOptions): Uint8Array {
  const all = reachable(Object.values(outputs))
  const readers = findReaders(all, Object.values(outputs))
  const emission = createEmission(
    options.dialect,
    options.blockWidth ?? null,
    (node) => readers.get(node) ?? [],
  )
  const weights = options.weights ?? new Map()
  const inputs: ValueInfoMessage[] = []

  for (const node of all) {
    switch (node.kind) {
      case 'input': {
        emission.values.set(node, { name: node.name, layout: 'recorded' })
        const values = weights.get(node.name)
        if (values) {
          const half = (options.half ?? false) && node.shape.length > 1
          const stored = half ? toHalf(values) : values
          const name = half ? `${node.name}/half` : node.name
          emission.initializers.push({
            name,
            dims: node.shape as number[],
            dataType: half ? dataTypes.float16 : dataTypes.float,
            rawData: new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength),
          })
          if (half) emission.emit('Cast', [name], { to: dataTypes.float }, { outputs: [node.name] })
        } else {
          inputs.push(valueInfo(node.name, node))
        }
        break
      }
      case 'constant':
        emission.values.set(node, {
          name: emission.float(node.values, node.shape as number[]),
          layout: 'recorded',
        })
        break
      case 'op':
        emission.values.set(node, lower(emission, node))
    }
  }
  nameOutputs(emission, outputs)
  dropUnused(emission, outputs)

  return encodeModel({
    irVersion,
    producerName: 'ddpm',
    producerVersion: '0.1.0',
    opsetImport: [
      { domain: '', version: opset },
      ...[...new Set(emission.nodes.map(({ domain }) => domain))]
        .filter((domain) => domain !== '')
        .map((domain) => ({ domain, version: 1 })),
    ],
    metadataProps: Object.entries(options.metadata ?? {}).map(([key, value]) => ({ key, value })),
    graph: {
      name: 'ddpm',
      node: emission.nodes,
      initializer: emission.initializers,
      input: inputs,
      output: Object.entries(outputs).map(([name, node]) => valueInfo(name, node)),
    },
  })
}

function findReaders(nodes: readonly Node[], outputs: readonly Node[]): ReadonlyMap<Node, (OpNode | null)[]> {
  const readers = new Map<Node, (OpNode | null)[]>()
  const read = (node: Node, reader: OpNode | null) => {
    const all = readers.get(node)
    if (all) all.push(reader)
    else readers.set(node, [reader])
  }
  for (const node of nodes) if (node.kind === 'op') for (const input of node.inputs) read(input, node)
  for (const node of outputs) read(node, null)
  return readers
}

/**
 * Gives the values that are outputs their public names. An Identity in between would copy them: it is left to
 * values that no operator of their own makes, or that go out twice.
 */
function nameOutputs(emission: Emission, outputs: Readonly<Record<string, Node>>): void {
  const made = new Set(emission.nodes.flatMap(({ output }) => output))
  const renamed = new Map<string, string>()
  for (const [name, node] of Object.entries(outputs)) {
    const value = recorded(emission, node)
    if (made.has(value) && !renamed.has(value)) renamed.set(value, name)
    else emission.emit('Identity', [value], {}, { outputs: [name] })
  }
  const rename = (value: string) => renamed.get(value) ?? value
  for (const node of emission.nodes) {
    node.input = node.input.map(rename)
    node.output = node.output.map(rename)
  }
}

/**
 * Leaves out operators that nothing reads, for a value may have been brought into a layout in vain, and optional outputs
 * that nothing reads: not every provider has them.
 */
function dropUnused({ nodes }: Emission, outputs: Readonly<Record<string, Node>>): void {
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

function valueInfo(name: string, { shape }: Node): ValueInfoMessage {
  const dim = shape.map((size) => (size === 'N' ? { dimParam: 'N' } : { dimValue: size }))
  return { name, type: { tensorType: { elemType: dataTypes.float, shape: { dim } } } }
}
