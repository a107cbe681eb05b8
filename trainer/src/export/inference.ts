import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type GenerateOptions,
  generate,
  graphFile,
  invert,
  type ModelInfo,
  type Network,
  parseManifest,
  type SamplingStep,
  UserError,
} from '@ddpm/shared'
import ort from 'onnxruntime-node'
import type { Node } from '../algebra/graph.ts'
import { toOnnx } from '../compile/onnx/model.ts'
import { type ModelFile, toTfjs } from '../compile/tfjs/model.ts'
import { unflatten } from '../network/parameters.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { layoutOfRun, modelInfoOf, networkOf, openCheckpoint, type RunConfig } from '../run/run.ts'
import { networkGraph } from '../step/inference-graphs.ts'

/** Names of inputs and output in exported graphs. */
export const graphNames = { sample: 'x', timestep: 'timestep', label: 'label', output: 'output' } as const

export type WeightsKind = 'ema' | 'raw'

/** Weights as they are handed out: a run's network as a graph, and the values of what it holds inside. */
interface FrozenNetwork {
  readonly outputs: Readonly<Record<string, Node>>
  readonly weights: ReadonlyMap<string, Float32Array>
}

type Trained = Pick<Checkpoint, 'state' | 'tables'>

function freeze(config: RunConfig, { state, tables }: Trained, weights: WeightsKind): FrozenNetwork {
  const flat = weights === 'ema' ? state.ema : state.parameters
  const values = new Map(tables)
  for (const [name, { data }] of unflatten(layoutOfRun(config), flat)) values.set(name, data)
  return {
    outputs: { [graphNames.output]: networkGraph(networkOf(config), graphNames) },
    weights: values,
  }
}

/**
 * A trained network as an ONNX file: standard operators, open batch, float32 timesteps and labels.
 * @param weights the moving average, or the weights themselves
 * @param half whether its weights are stored in half precision
 */
export function toModel(
  config: RunConfig,
  checkpoint: Trained,
  weights: WeightsKind,
  metadata: Readonly<Record<string, string>> = {},
  half = false,
): Uint8Array {
  const network = freeze(config, checkpoint, weights)
  return toOnnx(network.outputs, { dialect: 'standard', weights: network.weights, metadata, half })
}

/** The same as the files of a TensorFlow.js graph model. */
export function toGraphModel(
  config: RunConfig,
  checkpoint: Trained,
  weights: WeightsKind,
  metadata: Readonly<Record<string, unknown>> = {},
): ModelFile[] {
  const network = freeze(config, checkpoint, weights)
  return toTfjs(network.outputs, { weights: network.weights, metadata })
}

/** A model ready to be sampled from in this process. */
export interface OpenedModel {
  readonly facts: ModelInfo
  readonly network: Network
  /** What was opened, for people. */
  readonly description: string
  /** SHA-256 of graph and weights. */
  readonly digest: string
  dispose(): Promise<void>
}

/**
 * Opens a run's folder, one of its checkpoints, or an exported folder.
 * @throws UserError where the path is none of these
 */
export async function openModel(path: string, weights: WeightsKind): Promise<OpenedModel> {
  const manifestPath = join(path, 'manifest.json')
  if (existsSync(manifestPath)) {
    const manifest = parseManifest(readFileSync(manifestPath, 'utf8'), manifestPath)
    const graph = join(path, graphFile(manifest).path)
    if (!existsSync(graph))
      throw new UserError(`${manifestPath} names ${graph}, which is not there. Export again.`)
    const { sample, timestep, label } = manifest.inputs
    const names = { sample, timestep, label: label ?? graphNames.label, output: manifest.output }
    return openGraph(readFileSync(graph), manifest, names, `exported model ${manifest.name}`)
  }
  const { run, path: file, checkpoint } = openCheckpoint(path)
  const description = `${file}, ${weights === 'ema' ? 'averaged' : 'raw'} weights after ${checkpoint.progress.step} steps`
  return openGraph(toModel(run.config, checkpoint, weights), modelInfoOf(run.config), graphNames, description)
}

type GraphNames = { readonly [K in keyof typeof graphNames]: string }

/** Opens an ONNX file of a network. */
export async function openGraph(
  bytes: Uint8Array,
  facts: ModelInfo,
  names: GraphNames = graphNames,
  description = 'a graph',
): Promise<OpenedModel> {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['cpu'] })
  const { channels, height, width } = facts.shape
  return {
    facts,
    description,
    digest: createHash('sha256').update(bytes).digest('hex'),
    async network(x, timestep, label) {
      const results = await session.run({
        [names.sample]: new ort.Tensor('float32', x, [timestep.length, channels, height, width]),
        [names.timestep]: new ort.Tensor('float32', timestep, [timestep.length]),
        ...(label && { [names.label]: new ort.Tensor('float32', label, [label.length]) }),
      })
      return results[names.output]!.data as Float32Array
    },
    dispose: () => session.release(),
  }
}

/** Pictures per call of the network; a picture does not depend on it. */
const chunk = 64

/**
 * Draws any number of pictures, in chunks: [count, channels, height, width].
 * @param onStep told of each step of each chunk, and which picture the chunk begins with
 */
export async function sample(
  facts: ModelInfo,
  network: Network,
  options: GenerateOptions,
  onProgress: (done: number, total: number) => void = () => {},
  onStep: (step: SamplingStep, first: number) => void = () => {},
): Promise<Float32Array> {
  return inChunks(facts, options, (part, first) =>
    generate(facts, network, {
      ...part,
      onStep(step) {
        onProgress(first * step.steps + part.count * (step.step + 1), options.count * step.steps)
        onStep(step, first)
      },
    }),
  )
}

/** The noise that leads to pictures, in chunks: as pictures. */
export async function invertAll(
  facts: ModelInfo,
  network: Network,
  images: Float32Array,
  options: GenerateOptions,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Float32Array> {
  return inChunks(facts, { ...options, init: images }, ({ init: image, ...part }, first) =>
    invert(facts, network, image!, {
      ...part,
      onStep: ({ step, steps }) => onProgress(first * steps + part.count * (step + 1), options.count * steps),
    }),
  )
}

/** Cuts the pictures asked for, and what is given for each of them, into chunks, and puts the results together. */
async function inChunks(
  { shape: { channels, height, width } }: ModelInfo,
  options: GenerateOptions,
  work: (part: GenerateOptions, first: number) => Promise<Float32Array>,
): Promise<Float32Array> {
  const size = channels * height * width
  const out = new Float32Array(options.count * size)
  const { noise, init: image, mask } = options
  for (let first = 0; first < options.count; first += chunk) {
    const count = Math.min(chunk, options.count - first)
    const cut = (values: Float32Array) => values.subarray(first * size, (first + count) * size)
    const part = {
      ...options,
      first: (options.first ?? 0) + first,
      count,
      ...(noise && { noise: cut(noise) }),
      ...(image && { image: cut(image) }),
      ...(mask && { mask: cut(mask) }),
    }
    out.set(await work(part, first), first * size)
  }
  return out
}
