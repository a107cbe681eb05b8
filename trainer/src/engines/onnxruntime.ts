import { availableParallelism } from 'node:os'
import ort from 'onnxruntime-node'
import type { Node } from '../graph.ts'
import { toOnnx } from '../onnx/model.ts'
import {
  accumulationGraph,
  chunkName,
  predictionGraph,
  type StepSpec,
  stateChunks,
  stateNames,
  trainingGraph,
  updateGraph,
} from '../step.ts'
import { findBlockWidth } from './blocks.ts'
import type { Batch, Engine, StepResult, TrainingState } from './engine.ts'

/** Graphs that run once or few times are not worth optimising; onnxruntime's rewrites do not speed up the step. */
const sessionOptions = {
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'disabled',
  // Planning memory ahead costs half as much again at the same speed: measured on the training step.
  enableMemPattern: false,
} as const satisfies ort.InferenceSession.SessionOptions

/** Compiles recorded outputs for this process. */
export async function compile(
  outputs: Readonly<Record<string, Node>>,
  tables: ReadonlyMap<string, Float32Array>,
  {
    blockWidth = null,
    ...options
  }: ort.InferenceSession.SessionOptions & { blockWidth?: number | null } = {},
): Promise<ort.InferenceSession> {
  const bytes = toOnnx(outputs, { dialect: 'onnxruntime', weights: tables, blockWidth })
  return ort.InferenceSession.create(bytes, { ...sessionOptions, ...options })
}

/** Values by the name of the graph's input or output. */
type Tensors = Readonly<Record<string, ort.Tensor>>

/** A compiled step: reads scalars, state and batches, writes the next state into `next`. */
interface CompiledStep {
  run(
    batches: readonly Tensors[],
    inputs: { readonly scalars: ort.Tensor; readonly state: Tensors; readonly next: Tensors },
  ): Promise<{ loss: number; gradientNorm: number }>
  release(): Promise<void>
}

type Compile = (outputs: Readonly<Record<string, Node>>) => Promise<ort.InferenceSession>

/** A step of one batch is one graph. */
async function wholeStep(compile: Compile, spec: StepSpec): Promise<CompiledStep> {
  const session = await compile(trainingGraph(spec))
  return {
    async run([batch], { scalars, state, next }) {
      const loss = scalar()
      const gradientNorm = scalar()
      await session.run({ ...batch, ...state, scalars }, { loss, gradientNorm, ...next })
      return { loss: valueIn(loss), gradientNorm: valueIn(gradientNorm) }
    },
    release: () => session.release(),
  }
}

/** A step of several micro-batches is two graphs: one adds up their gradients, the other one updates. */
async function accumulatedStep(compile: Compile, spec: StepSpec): Promise<CompiledStep> {
  const accumulation = await compile(accumulationGraph(spec))
  const update = await compile(updateGraph(spec))
  const chunks = stateChunks(spec.unet).map(({ start, end }, i) => ({
    name: chunkName('accumulated', i),
    length: end - start,
  }))
  const sums = () => chunks.map(({ name, length }) => [name, vector(new Float32Array(length))] as const)
  let accumulated = sums()
  let spare = sums()
  return {
    async run(batches, { scalars, state, next }) {
      const parameters = Object.fromEntries(
        chunks.map((_, i) => [chunkName('parameters', i), state[chunkName('parameters', i)]!]),
      )
      for (const [, { data }] of accumulated) (data as Float32Array).fill(0)
      let total = 0
      for (const batch of batches) {
        const loss = scalar()
        const results = Object.fromEntries(spare.map(([name, tensor]) => [`next.${name}`, tensor]))
        await accumulation.run(
          { ...batch, ...parameters, ...Object.fromEntries(accumulated) },
          { loss, ...results },
        )
        ;[accumulated, spare] = [spare, accumulated]
        total += valueIn(loss)
      }
      const gradientNorm = scalar()
      await update.run({ ...state, ...Object.fromEntries(accumulated), scalars }, { gradientNorm, ...next })
      return { loss: total / batches.length, gradientNorm: valueIn(gradientNorm) }
    },
    async release() {
      await accumulation.release()
      await update.release()
    },
  }
}

/**
 * Training on the CPU: the whole step is one compiled graph, or two where it is cut into micro-batches. The state lives
 * in two sets of buffers, allocated once; a step reads one and writes the other, so the state before a step that went
 * wrong is still there.
 * @param state taken over, not copied
 * @param options.threads as many as there are cores unless told; results are the same bit for bit at the same number
 */
export async function createOnnxruntimeEngine(
  spec: StepSpec,
  tables: ReadonlyMap<string, Float32Array>,
  state: TrainingState,
  { threads = availableParallelism() }: { threads?: number } = {},
): Promise<Engine> {
  const options = { intraOpNumThreads: threads }
  const blockWidth = await findBlockWidth()
  const accumulate = spec.accumulate ?? 1
  const training = await (accumulate === 1 ? wholeStep : accumulatedStep)(
    (outputs) => compile(outputs, tables, { ...options, blockWidth }),
    spec,
  )
  let prediction: ort.InferenceSession | null = null
  const { channels, height, width } = {
    channels: spec.unet.inputChannels,
    height: spec.height,
    width: spec.width,
  }

  const chunks = stateChunks(spec.unet)
  /** Views of a state's vectors, as the graph takes them. */
  const tensorsOf = (values: TrainingState) =>
    stateNames.flatMap((name) =>
      chunks.map(
        ({ start, end }, i) => [chunkName(name, i), vector(values[name].subarray(start, end))] as const,
      ),
    )
  const buffers = (values: TrainingState) => ({ values, tensors: tensorsOf(values) })
  let current = buffers(state)
  let spare = buffers(
    Object.fromEntries(
      stateNames.map((name) => [name, new Float32Array(state[name].length)]),
    ) as unknown as TrainingState,
  )

  function batchFeeds({ x0, noise, timestep, label, coefficients, dropout }: Batch): Tensors {
    const n = timestep.length
    const picture = [n, channels, height, width]
    return {
      x0: new ort.Tensor('float32', x0, picture),
      noise: new ort.Tensor('float32', noise, picture),
      timestep: vector(timestep),
      coefficients: new ort.Tensor('float32', coefficients, [n, coefficients.length / n]),
      ...(label && { label: vector(label) }),
      ...(dropout && { dropout: new ort.Tensor('float32', dropout, [n, dropout.length / n]) }),
    }
  }

  return {
    description: `onnxruntime ${ort.env.versions.node ?? ''} on the CPU, ${threads} thread${threads === 1 ? '' : 's'}`,

    async step(batches, scalars): Promise<StepResult> {
      if (batches.length !== accumulate)
        throw new Error(`Found ${batches.length} micro-batches; this engine was made for ${accumulate}.`)
      const { loss, gradientNorm } = await training.run(batches.map(batchFeeds), {
        scalars: vector(scalars),
        state: Object.fromEntries(current.tensors),
        next: Object.fromEntries(spare.tensors.map(([name, tensor]) => [`next.${name}`, tensor])),
      })
      const finite = Number.isFinite(loss) && Number.isFinite(gradientNorm)
      if (finite) [current, spare] = [spare, current]
      return { loss, gradientNorm, finite }
    },

    async predict(weights, x, timestep, label) {
      prediction ??= await compile(predictionGraph(spec), tables, options)
      const { output } = await prediction.run({
        parameters: vector(current.values[weights === 'ema' ? 'ema' : 'parameters']),
        x: new ort.Tensor('float32', x, [timestep.length, channels, height, width]),
        timestep: vector(timestep),
        ...(label && { label: vector(label) }),
      })
      return output!.data as Float32Array
    },

    state: async () => current.values,

    async dispose() {
      await training.release()
      await prediction?.release()
    },
  }
}

function scalar(): ort.Tensor {
  return vector(new Float32Array(1))
}

function valueIn(scalar: ort.Tensor): number {
  return (scalar.data as Float32Array)[0]!
}

function vector(values: Float32Array): ort.Tensor {
  return new ort.Tensor('float32', values, [values.length])
}
