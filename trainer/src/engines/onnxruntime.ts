import { availableParallelism } from 'node:os'
import ort from 'onnxruntime-node'
import type { Node } from '../graph.ts'
import { toOnnx } from '../onnx/model.ts'
import { chunkName, predictionGraph, type StepSpec, stateChunks, stateNames, trainingGraph } from '../step.ts'
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

/**
 * Training on the CPU: the whole step is one compiled graph. The state lives in two sets of buffers, allocated once;
 * a step reads one and writes the other, so the state before a step that went wrong is still there.
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
  const training = await compile(trainingGraph(spec), tables, {
    ...options,
    blockWidth: await findBlockWidth(),
  })
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

  function batchFeeds({
    x0,
    noise,
    timestep,
    label,
    coefficients,
    dropout,
  }: Batch): Record<string, ort.Tensor> {
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

    async step(batch, scalars): Promise<StepResult> {
      const feeds = { ...batchFeeds(batch), scalars: vector(scalars), ...Object.fromEntries(current.tensors) }
      const fetches = {
        loss: vector(new Float32Array(1)),
        gradientNorm: vector(new Float32Array(1)),
        ...Object.fromEntries(spare.tensors.map(([name, tensor]) => [`next.${name}`, tensor])),
      }
      await training.run(feeds, fetches)
      const loss = (fetches.loss.data as Float32Array)[0]!
      const gradientNorm = (fetches.gradientNorm.data as Float32Array)[0]!
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

function vector(values: Float32Array): ort.Tensor {
  return new ort.Tensor('float32', values, [values.length])
}
