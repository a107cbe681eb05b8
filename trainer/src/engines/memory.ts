import ort from 'onnxruntime-node'
import { createGraph, type Node } from '../algebra/graph.ts'
import { type Chunk, chunksOf, type Layout, singlesOf } from '../network/parameters.ts'
import type { TrainingState } from '../step/engine.ts'
import { type AdamConfig, adamStepInPlace, type StepScalars, stepScalarNames } from '../step/optimizer.ts'
import { chunkName, mapState, stateNames, updateGraph } from '../step/step.ts'

/** Values by the name of the graph's input or output. */
export type Tensors = Readonly<Record<string, ort.Tensor>>
/** Where a run shall put its results; null lets it make the tensors itself. */
export type Fetches = Readonly<Record<string, ort.Tensor | null>>

/** Where the state of a training and its gradients are, as the graphs take and give them (see step.ts). */
export interface Memory {
  /** The chunks in which graphs are to take parameters and give gradients. */
  readonly chunks: readonly Chunk[]
  /** Parameters, or their moving average in their place. */
  parameters(weights: 'raw' | 'ema'): Tensors
  /** What was accumulated, of gradients that are; zero at the beginning of a step. */
  accumulated(first: boolean): Tensors
  gradientFetches(): Fetches
  /** Takes over the gradients among the results of a run. */
  takeGradients(results: Tensors): void
  /** Adam's step, and that of the moving average. */
  update(gradientScale: number, scalars: Float32Array): Promise<void>
  /** The state as it is now; valid until the next update. */
  state(): Promise<TrainingState>
  dispose(): Promise<void>
}

type Name = Parameters<typeof chunkName>[0]
type NameOf = (name: Name, chunk: number) => string

/** Chunks of a flat vector as tensors that lie in it. */
function viewsOf(flat: Float32Array, chunks: readonly Chunk[], name: Name): Tensors {
  return Object.fromEntries(
    chunks.map(({ start, end, shape }, i) => [
      chunkName(name, i),
      new ort.Tensor('float32', flat.subarray(start, end), shape),
    ]),
  )
}

/**
 * In host memory a tensor is a view of a vector. Every parameter has one, so that no graph needs to cut it out, and
 * gradients go where the update reads them.
 * @param state taken over, not copied
 */
export function hostMemory(state: TrainingState, layout: Layout, adam: AdamConfig): Memory {
  const chunks = singlesOf(layout)
  const gradients = new Float32Array(layout.size)
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
    takeGradients() {},
    async update(gradientScale, scalars) {
      const byName = Object.fromEntries(stepScalarNames.map((name, i) => [name, scalars[i]!]))
      adamStepInPlace(state, gradients, gradientScale, byName as unknown as StepScalars<number>, adam)
    },
    state: async () => state,
    async dispose() {},
  }
}

/** Elements of a chunk on a device: a buffer of WebGPU may have 128 MiB, these have half as many, or a parameter's. */
const deviceChunk = 2 ** 24

/** Compiles a graph some of whose results stay on the device. */
type Compile = (
  outputs: Readonly<Record<string, Node>>,
  kept: readonly string[],
) => Promise<ort.InferenceSession>

/** The memory of a graphics card: tensors stay there, and each run makes new ones. In Node only WebGPU can. */
export async function deviceMemory(
  state: TrainingState,
  layout: Layout,
  adam: AdamConfig,
  compile: Compile,
): Promise<Memory> {
  const chunks = chunksOf(layout, deviceChunk)
  const next: NameOf = (name, chunk) => `next.${chunkName(name, chunk)}`
  const namesOf = (names: readonly Name[], nameOf: NameOf = chunkName) =>
    names.flatMap((name) => chunks.map((_, i) => nameOf(name, i)))
  /** Tensors under other names. */
  const renamed = (tensors: Tensors, from: readonly string[], to: readonly string[]): Tensors =>
    Object.fromEntries(to.map((name, i) => [name, tensors[from[i]!]!]))
  const drop = (tensors: Tensors) => {
    for (const tensor of Object.values(tensors)) tensor.dispose()
  }
  const stateTensors = namesOf(stateNames)
  const update = await compile(updateGraph(chunks, adam), namesOf(stateNames, next))

  let present: Tensors = Object.assign({}, ...stateNames.map((name) => viewsOf(state[name], chunks, name)))
  let gradients: Tensors = {}
  let download: ort.InferenceSession | null = null
  return {
    chunks,
    parameters: (weights) =>
      renamed(present, namesOf([weights === 'raw' ? 'parameters' : 'ema']), namesOf(['parameters'])),
    accumulated(first) {
      if (first) {
        drop(gradients)
        gradients = viewsOf(new Float32Array(layout.size), chunks, 'gradients')
      }
      return renamed(gradients, namesOf(['gradients']), namesOf(['accumulated']))
    },
    gradientFetches: () => Object.fromEntries(namesOf(['gradients']).map((name) => [name, null])),
    takeGradients(results) {
      drop(gradients)
      gradients = renamed(results, namesOf(['gradients']), namesOf(['gradients']))
    },
    async update(gradientScale, scalars) {
      const one = (values: Float32Array) => new ort.Tensor('float32', values, [values.length])
      const results = await update.run(
        {
          ...present,
          ...gradients,
          scalars: one(scalars),
          gradientScale: one(Float32Array.of(gradientScale)),
        },
        Object.fromEntries(namesOf(stateNames, next).map((name) => [name, null])),
      )
      drop(present)
      present = renamed(results, namesOf(stateNames, next), stateTensors)
    },
    async state() {
      // Tensor.getData() of onnxruntime-node 1.30 ends the process; a graph that hands its inputs on does not.
      download ??= await compile(copyGraph(chunks), [])
      const found = await download.run(present)
      const whole = (name: Name) => {
        const flat = new Float32Array(layout.size)
        for (const [i, { start }] of chunks.entries())
          flat.set(found[`copy.${chunkName(name, i)}`]!.data as Float32Array, start)
        return flat
      }
      return mapState(whole)
    },
    async dispose() {
      // Tensors first: a session takes the memory of its outputs along.
      drop(gradients)
      drop(present)
      await update.release()
      await download?.release()
    },
  }
}

/** Every vector of the state as it is. */
function copyGraph(chunks: readonly Chunk[]): Record<string, Node> {
  const { input } = createGraph()
  return Object.fromEntries(
    stateNames.flatMap((name) =>
      chunks.map(({ shape }, i) => [`copy.${chunkName(name, i)}`, input(chunkName(name, i), shape)]),
    ),
  )
}
