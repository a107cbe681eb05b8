import { type Node, reachable } from '../graph.ts'
import { createEmission, type Dialect, type Emission } from './emitter.ts'
import { lower } from './lower.ts'
import { dataTypes, encodeModel, type ValueInfoMessage } from './schema.ts'

export interface ModelOptions {
  readonly dialect: Dialect
  /** Convolutions in onnxruntime's blocked layout of so many channels a block; none unless told. */
  readonly blockWidth?: number | null
  /** Inputs that are held inside the model: name and values. */
  readonly weights?: ReadonlyMap<string, Float32Array>
  readonly metadata?: Readonly<Record<string, string>>
}

/** ONNX operator set 17 has LayerNormalization; IR version 8 came with it. */
const opset = 17
const irVersion = 8

/**
 * A graph as an ONNX file. Inputs that no output depends on are left out.
 * @param outputs name → node
 */
export function toOnnx(outputs: Readonly<Record<string, Node>>, options: ModelOptions): Uint8Array {
  const emission = createEmission(options.dialect, options.blockWidth ?? null)
  const weights = options.weights ?? new Map()
  const inputs: ValueInfoMessage[] = []

  for (const node of reachable(Object.values(outputs))) {
    switch (node.kind) {
      case 'input': {
        emission.names.set(node, node.name)
        const values = weights.get(node.name)
        if (values) {
          emission.initializers.push({
            name: node.name,
            dims: node.shape as number[],
            dataType: dataTypes.float,
            rawData: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
          })
        } else {
          inputs.push(valueInfo(node.name, node))
        }
        break
      }
      case 'constant':
        emission.names.set(node, emission.float(node.values, node.shape as number[]))
        break
      case 'op':
        emission.names.set(node, lower(emission, node))
    }
  }
  nameOutputs(emission, outputs)
  dropUnusedOutputs(emission, outputs)

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

/**
 * Gives the values that are outputs their public names. An Identity in between would copy them: it is left to
 * values that no operator of their own makes, or that go out twice.
 */
function nameOutputs(emission: Emission, outputs: Readonly<Record<string, Node>>): void {
  const made = new Set(emission.nodes.flatMap(({ output }) => output))
  const renamed = new Map<string, string>()
  for (const [name, node] of Object.entries(outputs)) {
    const value = emission.nameOf(node)
    if (made.has(value) && !renamed.has(value)) renamed.set(value, name)
    else emission.emit('Identity', [value], {}, { outputs: [name] })
  }
  const rename = (value: string) => renamed.get(value) ?? value
  for (const node of emission.nodes) {
    node.input = node.input.map(rename)
    node.output = node.output.map(rename)
  }
}

/** Leaves out optional outputs that nobody reads: not every provider has them. */
function dropUnusedOutputs({ nodes }: Emission, outputs: Readonly<Record<string, Node>>): void {
  const read = new Set([...nodes.flatMap(({ input }) => input), ...Object.keys(outputs)])
  for (const { output } of nodes) while (output.length > 1 && !read.has(output.at(-1)!)) output.pop()
}

function valueInfo(name: string, { shape }: Node): ValueInfoMessage {
  const dim = shape.map((size) => (size === 'N' ? { dimParam: 'N' } : { dimValue: size }))
  return { name, type: { tensorType: { elemType: dataTypes.float, shape: { dim } } } }
}
