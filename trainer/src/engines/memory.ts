import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { createGraph, type Node } from '../algebra/graph.ts'
import {
  type Chunk,
  type ParameterLayout,
  splitIntoChunks,
  splitPerParameter,
} from '../network/parameters.ts'
import { chunkName, type VectorName } from '../step/chunked-parameters.ts'
import type { TrainingState } from '../step/engine.ts'
import { type AdamConfig, mapState, type StepScalars, stateNames } from '../step/optimizer.ts'
import { packScalars, updateGraph } from '../step/training-graphs.ts'
import ort from '../support/onnxruntime-node.ts'
import { createAdamMemory } from './adam-kernel.ts'

/** Tensors by the name of a graph's input or output. */
export type Tensors = Readonly<Record<string, Tensor>>
/** Preallocated outputs of a run; null lets onnxruntime allocate the tensor. */
export type Fetches = Readonly<Record<string, Tensor | null>>

/** Stores the training state and the gradients, the inputs and outputs of the graphs in step/training-graphs.ts. */
export interface Memory {
  /** Chunks in which the graphs take parameters and return gradients. */
  readonly chunks: readonly Chunk[]
  /** Returns the tensors for the inputs `parameters` of a graph: the raw parameters or their EMA. */
  parameters(weights: 'raw' | 'ema'): Tensors
  /**
   * Returns the tensors for the inputs `accumulated` of a graph.
   * @param first whether this is the first micro-batch of a step. If so, the gradients are reset to zero.
   */
  accumulated(first: boolean): Tensors
  /** Returns the tensors into which a run writes the outputs `gradients`. */
  gradientFetches(): Fetches
  /** Stores the gradients from the results of a run. */
  storeGradients(results: Tensors): void
  /** Applies one step of Adam and of the EMA. */
  update(gradientScale: number, scalars: StepScalars<number>): Promise<void>
  /** Returns the current state. It is valid until the next update. */
  state(): Promise<TrainingState>
  dispose(): Promise<void>
}

/** Returns the chunks of a flat vector as tensors that share its memory. */
function viewsOf(flat: Float32Array, chunks: readonly Chunk[], name: VectorName): Tensors {
  return Object.fromEntries(
    chunks.map(({ start, end, shape }, i) => [
      chunkName(name, i),
      new ort.Tensor('float32', flat.subarray(start, end), shape),
    ]),
  )
}

/**
 * Stores the state in host memory. The tensor of each parameter shares the memory of the flat vector, so that no graph has
 * to slice the vector. Gradients are written directly to the vector that the update reads.
 * @param initial initial state; its arrays are empty afterwards, so that the state is in memory once
 */
export function hostMemory(initial: TrainingState, layout: ParameterLayout, adam: AdamConfig): Memory {
  const chunks = splitPerParameter(layout)
  const { state, gradient: gradients, step } = createAdamMemory(initial, adam)
  const parameters = {
    raw: viewsOf(state.parameters, chunks, 'parameters'),
    ema: viewsOf(state.ema, chunks, 'parameters'),
  }
  const accumulated = viewsOf(gradients, chunks, 'accumulated')
  const fetches = viewsOf(gradients, chunks, 'gradients')
  return {
    chunks,
    parameters: (weights) => parameters[weights],
    accumulated(first) {
      if (first) gradients.fill(0)
      return accumulated
    },
    gradientFetches: () => fetches,
    // The run has already written the gradients in place (see gradientFetches).
    storeGradients() {},
    async update(gradientScale, scalars) {
      step(gradientScale, scalars)
    },
    state: async () => state,
    async dispose() {},
  }
}

/**
 * Min number of elements of a chunk on a device, except the last chunk: 64 MiB of float32, half of WebGPU's default limit
 * for a storage buffer. A chunk with a large parameter may be larger.
 */
const deviceChunkSize = 2 ** 24

/** Compiles a graph whose `deviceOutputs` stay on the device. */
type Compile = (
  outputs: Readonly<Record<string, Node>>,
  deviceOutputs: readonly string[],
) => Promise<InferenceSession>

/**
 * Stores the state on a graphics card. Every run allocates new tensors. In Node, onnxruntime supports this only with WebGPU.
 */
export async function deviceMemory(
  state: TrainingState,
  layout: ParameterLayout,
  adam: AdamConfig,
  compile: Compile,
): Promise<Memory> {
  const chunks = splitIntoChunks(layout, deviceChunkSize)
  const nextName = (name: VectorName, chunk: number) => `next.${chunkName(name, chunk)}`
  const chunkNames = (names: readonly VectorName[], nameOf = chunkName) =>
    names.flatMap((name) => chunks.map((_, i) => nameOf(name, i)))
  const rename = (tensors: Tensors, from: readonly string[], to: readonly string[]): Tensors =>
    Object.fromEntries(to.map((name, i) => [name, tensors[from[i]!]!]))
  const disposeAll = (tensors: Tensors) => {
    for (const tensor of Object.values(tensors)) tensor.dispose()
  }
  const stateInputs = chunkNames(stateNames)
  const stateOutputs = chunkNames(stateNames, nextName)
  const gradientNames = chunkNames(['gradients'])
  const updateSession = await compile(updateGraph(chunks, adam), stateOutputs)

  let current: Tensors = Object.assign({}, ...stateNames.map((name) => viewsOf(state[name], chunks, name)))
  let gradients: Tensors = {}
  let copySession: InferenceSession | null = null
  return {
    chunks,
    parameters: (weights) =>
      rename(current, chunkNames([weights === 'raw' ? 'parameters' : 'ema']), chunkNames(['parameters'])),
    accumulated(first) {
      if (first) {
        disposeAll(gradients)
        gradients = viewsOf(new Float32Array(layout.size), chunks, 'gradients')
      }
      return rename(gradients, gradientNames, chunkNames(['accumulated']))
    },
    gradientFetches: () => Object.fromEntries(gradientNames.map((name) => [name, null])),
    storeGradients(results) {
      disposeAll(gradients)
      gradients = rename(results, gradientNames, gradientNames)
    },
    async update(gradientScale, scalars) {
      const vector = (values: Float32Array) => new ort.Tensor('float32', values, [values.length])
      const results = await updateSession.run(
        {
          ...current,
          ...gradients,
          scalars: vector(packScalars(scalars)),
          gradientScale: vector(Float32Array.of(gradientScale)),
        },
        Object.fromEntries(stateOutputs.map((name) => [name, null])),
      )
      disposeAll(current)
      current = rename(results, stateOutputs, stateInputs)
    },
    async state() {
      // Tensor.getData() crashes the process (onnxruntime-node 1.30), so a graph that returns its inputs copies the state.
      copySession ??= await compile(copyGraph(chunks), [])
      const copies = await copySession.run(current)
      return mapState((name) => {
        const flat = new Float32Array(layout.size)
        for (const [i, { start }] of chunks.entries())
          flat.set(copies[`copy.${chunkName(name, i)}`]!.data as Float32Array, start)
        return flat
      })
    },
    async dispose() {
      // The tensors are disposed first, because releasing a session frees the memory of its outputs.
      disposeAll(gradients)
      disposeAll(current)
      await updateSession.release()
      await copySession?.release()
    },
  }
}

/** Records a graph that returns every vector of the state unchanged, with the prefix `copy.`. */
function copyGraph(chunks: readonly Chunk[]): Record<string, Node> {
  const { input } = createGraph()
  return Object.fromEntries(
    stateNames.flatMap((name) =>
      chunks.map(({ shape }, i) => [`copy.${chunkName(name, i)}`, input(chunkName(name, i), shape)]),
    ),
  )
}
