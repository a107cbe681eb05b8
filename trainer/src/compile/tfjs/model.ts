import { type Node, reachable } from '../../algebra/graph.ts'
import { createEmission, type Emission, float, type NodeDef, type Value } from './emitter.ts'
import { recorded } from './layout.ts'
import { lower } from './lower.ts'

export interface ModelOptions {
  /** Inputs that are held inside the model: name and values. */
  readonly weights?: ReadonlyMap<string, Float32Array>
  /** What TensorFlow.js hands on as the model's `metadata`. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** A file of a graph model. */
export interface ModelFile {
  readonly path: string
  readonly bytes: Uint8Array
}

/** The size of TensorFlow.js' own shards, which browsers keep in their caches. */
const shardBytes = 4 * 2 ** 20

/** The GraphDef version of TensorFlow 2.3, which has all operators that are used here. */
const versions = { producer: 440, minConsumer: 12 }

/**
 * A graph as a TensorFlow.js graph model: the weights' shards and, last, `model.json`. Inputs and outputs have the
 * shapes that were recorded, [N, C, H, W] for pictures; inside, pictures have their channels last. Inputs that no output
 * depends on are left out.
 *
 * @param outputs name → node
 */
export function toTfjs(outputs: Readonly<Record<string, Node>>, options: ModelOptions = {}): ModelFile[] {
  const emission = createEmission()
  const values = new Map<Node, Value>()
  const inputs: (Node & { kind: 'input' })[] = []

  for (const node of reachable(Object.values(outputs))) {
    const fixed = node.shape as readonly number[]
    switch (node.kind) {
      case 'input': {
        const weight = options.weights?.get(node.name)
        const name = weight ? emission.floats(weight, fixed, node.name) : node.name
        if (!weight) inputs.push(node)
        values.set(node, { name, layout: 'recorded' })
        break
      }
      case 'constant':
        values.set(node, { name: emission.floats(node.values, fixed), layout: 'recorded' })
        break
      case 'op': {
        const operands = node.inputs.map((input) => values.get(input)!)
        values.set(node, lower(emission, operands, node))
      }
    }
  }

  const results = Object.entries(outputs).map(
    ([name, node]): NodeDef => ({
      name,
      op: 'Identity',
      input: [recorded(emission, values.get(node)!)],
      attr: { T: float },
    }),
  )
  const nodes = [...emission.nodes, ...results]
  const constants = readConstants(emission, nodes)
  const shards = split(constants.map(([, { values }]) => values))
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

/** The constants that operators read. */
function readConstants({ constants }: Emission, nodes: readonly NodeDef[]) {
  const read = new Set(nodes.flatMap(({ input }) => input ?? []))
  return [...constants].filter(([name]) => read.has(name))
}

/** All values one after the other, cut into files without regard to where one ends. */
function split(values: readonly (Float32Array | Int32Array)[]): ModelFile[] {
  const bytes = Buffer.concat(
    values.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)),
  )
  const count = Math.ceil(bytes.length / shardBytes)
  return Array.from({ length: count }, (_, i) => ({
    path: `group1-shard${i + 1}of${count}.bin`,
    bytes: bytes.subarray(i * shardBytes, (i + 1) * shardBytes),
  }))
}

/** tensorflow.TensorInfo in JSON; an open batch is −1. */
function tensorInfo(name: string, { shape }: Node) {
  const dim = shape.map((size) => ({ size: size === 'N' ? '-1' : String(size) }))
  return { name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape: { dim } }
}
