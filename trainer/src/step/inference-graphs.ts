import { createGraph, type Graph, type Node } from '../algebra/graph.ts'
import type { Parameters } from '../network/layers.ts'
import type { Chunk } from '../network/parameters.ts'
import { type UNetInputs, unet } from '../network/unet.ts'
import { chunkedParameters } from './chunked-parameters.ts'
import type { NetworkSpec } from './spec.ts'

/**
 * Records the forward pass with the parameters as inputs in chunks, for predictions during training.
 *
 * Inputs: `parameters` in chunks (see `chunkName`); x [N, C, H, W]; timestep [N]; label [N] if the network has
 * classes. Output: `output`. The batch dimension is symbolic.
 */
export function predictionGraph(spec: NetworkSpec, chunks: readonly Chunk[]): Record<string, Node> {
  const graph = createGraph()
  const { parameters } = chunkedParameters(graph, chunks)
  const inputs = networkInputs(graph, spec, { sample: 'x', timestep: 'timestep', label: 'label' })
  return { output: unet(graph.ops, spec.unet, parameters, inputs) }
}

/** Names of a graph's inputs. */
interface InputNames {
  readonly sample: string
  readonly timestep: string
  readonly label: string
}

/** Records the forward pass with every parameter as a separate input, for export. The batch dimension is symbolic. */
export function networkGraph(spec: NetworkSpec, names: InputNames): Node {
  const graph = createGraph()
  const parameters: Parameters<Node> = ({ name, shape }) => graph.input(name, shape)
  const inputs = networkInputs(graph, spec, names)
  return unet(graph.ops, spec.unet, parameters, inputs)
}

function networkInputs(
  { input }: Graph,
  { unet: config, height, width }: NetworkSpec,
  names: InputNames,
): UNetInputs<Node> {
  return {
    x: input(names.sample, ['N', config.inputChannels, height, width]),
    timestep: input(names.timestep, ['N']),
    label: config.classes > 0 ? input(names.label, ['N']) : null,
  }
}
