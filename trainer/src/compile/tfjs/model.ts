import { type Node, reachable } from '../../algebra/graph.ts'
import { createGraphBuilder, float, type GraphBuilder, type NodeDef, type Tensor } from './emitter.ts'
import { plainNameOf } from './layout.ts'
import { lower } from './lower.ts'

export interface ModelOptions {
  /** Values of inputs that are stored in the model as constants, by name. */
  readonly weights?: ReadonlyMap<string, Float32Array>
  /** Metadata that TensorFlow.js returns as `metadata` of the model. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** File of a graph model. */
export interface ModelFile {
  readonly path: string
  readonly bytes: Uint8Array
}

/** Size of a shard. TensorFlow.js writes shards of the same size, because browsers cache files of this size. */
const shardBytes = 4 * 2 ** 20

/** GraphDef version of TensorFlow 2.3, which has all operators that the compiler emits. */
const versions = { producer: 440, minConsumer: 12 }

/**
 * Compiles a graph to a TensorFlow.js graph model. Inputs and outputs have the shapes of the graph, [N, C, H, W] for
 * images; internally, images are in channels-last layout. Inputs that no output depends on are omitted.
 *
 * @param outputs nodes by the name of the model's output
 * @returns the shards of the weights and, last, `model.json`
 */
export function toTfjs(outputs: Readonly<Record<string, Node>>, options: ModelOptions = {}): ModelFile[] {
  const builder = createGraphBuilder()
  const tensors = new Map<Node, Tensor>()
  const inputs: (Node & { kind: 'input' })[] = []

  for (const node of reachable(Object.values(outputs))) {
    const fixed = node.shape as readonly number[]
    switch (node.kind) {
      case 'input': {
        const weight = options.weights?.get(node.name)
        const name = weight ? builder.floats(weight, fixed, node.name) : node.name
        if (!weight) inputs.push(node)
        tensors.set(node, { name, layout: 'plain' })
        break
      }
      case 'constant':
        tensors.set(node, { name: builder.floats(node.values, fixed), layout: 'plain' })
        break
      case 'op': {
        const operands = node.inputs.map((input) => tensors.get(input)!)
        tensors.set(node, lower(builder, operands, node))
      }
    }
  }

  const results = Object.entries(outputs).map(
    ([name, node]): NodeDef => ({
      name,
      op: 'Identity',
      input: [plainNameOf(builder, tensors.get(node)!)],
      attr: { T: float },
    }),
  )
  const nodes = [...builder.nodes, ...results]
  const constants = findReadConstants(builder, nodes)
  const shards = splitIntoShards(constants.map(([, { values }]) => values))
  const model = {
    format: 'graph-model',
    generatedBy: 'ddpm',
    convertedBy: null,
    signature: {
      inputs: Object.fromEntries(inputs.map((node) => [node.name, tensorInfo(node.name, node)])),
      outputs: Object.fromEntries(
        Object.entries(outputs).map(([name, node]) => [name, tensorInfo(name, node)]),
      ),
    },
    userDefinedMetadata: options.metadata ?? {},
    modelTopology: {
      node: [
        ...inputs.map((node) => ({
          name: node.name,
          op: 'Placeholder',
          attr: { dtype: float, shape: { shape: tensorInfo(node.name, node).tensorShape } },
        })),
        ...constants.map(([name, { values }]) => ({
          name,
          op: 'Const',
          attr: { dtype: { type: values instanceof Float32Array ? 'DT_FLOAT' : 'DT_INT32' } },
        })),
        ...nodes,
      ],
      library: {},
      versions,
    },
    weightsManifest: [
      {
        paths: shards.map(({ path }) => path),
        weights: constants.map(([name, { shape, values }]) => ({
          name,
          shape,
          dtype: values instanceof Float32Array ? 'float32' : 'int32',
        })),
      },
    ],
  }
  return [...shards, { path: 'model.json', bytes: Buffer.from(JSON.stringify(model)) }]
}

/** Returns the constants that operators read. */
function findReadConstants({ constants }: GraphBuilder, nodes: readonly NodeDef[]) {
  const read = new Set(nodes.flatMap(({ input }) => input ?? []))
  return [...constants].filter(([name]) => read.has(name))
}

/** Concatenates all values and splits the bytes into files. A value may be split across files. */
function splitIntoShards(values: readonly (Float32Array | Int32Array)[]): ModelFile[] {
  const bytes = Buffer.concat(
    values.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)),
  )
  const count = Math.ceil(bytes.length / shardBytes)
  return Array.from({ length: count }, (_, i) => ({
    path: `group1-shard${i + 1}of${count}.bin`,
    bytes: bytes.subarray(i * shardBytes, (i + 1) * shardBytes),
  }))
}

/** Returns tensorflow.TensorInfo in JSON. The symbolic batch is −1. */
function tensorInfo(name: string, { shape }: Node) {
  const dim = shape.map((size) => ({ size: size === 'N' ? '-1' : String(size) }))
  return { name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape: { dim } }
}
