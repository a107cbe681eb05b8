import type { Node } from '../algebra/graph.ts'
import { toOnnx } from '../compile/onnx/model.ts'
import { type ModelFile, toTfjs } from '../compile/tfjs/model.ts'
import { unflatten } from '../network/parameters.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { layoutOfRun, networkOf, type RunConfig } from '../run/run.ts'
import { networkGraph } from '../step/inference-graphs.ts'

/** Names of the inputs and the output of exported graphs. */
export const graphNames = { sample: 'x', timestep: 'timestep', label: 'label', output: 'output' } as const

/** Which weights of a checkpoint are used: the moving average (EMA) or the raw weights. */
export type WeightsKind = 'ema' | 'raw'

type TrainedWeights = Pick<Checkpoint, 'state' | 'tables'>

/**
 * Compiles a trained network to an ONNX file: standard operators, symbolic batch size, float32 timesteps and labels.
 * @param half stores the weights in half precision
 */
export function toOnnxModel(
  config: RunConfig,
  checkpoint: TrainedWeights,
  kind: WeightsKind,
  metadata: Readonly<Record<string, string>> = {},
  half = false,
): Uint8Array {
  const { outputs, weights } = freeze(config, checkpoint, kind)
  return toOnnx(outputs, { dialect: 'standard', weights, metadata, half })
}

/** Compiles a trained network to the files of a TensorFlow.js graph model. */
export function toTfjsModel(
  config: RunConfig,
  checkpoint: TrainedWeights,
  kind: WeightsKind,
  metadata: Readonly<Record<string, unknown>> = {},
): ModelFile[] {
  const { outputs, weights } = freeze(config, checkpoint, kind)
  return toTfjs(outputs, { weights, metadata })
}

/** A network's graph and the values of its parameters and tables, by name. */
interface FrozenNetwork {
  readonly outputs: Readonly<Record<string, Node>>
  readonly weights: ReadonlyMap<string, Float32Array>
}

function freeze(config: RunConfig, { state, tables }: TrainedWeights, kind: WeightsKind): FrozenNetwork {
  const flat = kind === 'ema' ? state.ema : state.parameters
  const weights = new Map(tables)
  for (const [name, { data }] of unflatten(layoutOfRun(config), flat)) weights.set(name, data)
  return { outputs: { [graphNames.output]: networkGraph(networkOf(config), graphNames) }, weights }
}
