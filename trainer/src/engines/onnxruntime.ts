import { availableParallelism } from 'node:os'
import { UserError } from '@ddpm/shared'
import ort from 'onnxruntime-node'
import { createGraph, type Node } from '../graph.ts'
import { toOnnx } from '../onnx/model.ts'
import {
  accumulationGraph,
  chunkName,
  mapState,
  predictionGraph,
  type StepSpec,
  stateChunks,
  stateNames,
  trainingGraph,
  updateGraph,
} from '../step.ts'
import { findBlockWidth } from './blocks.ts'
import type { Batch, Device, Engine, StepResult, TrainingState } from './engine.ts'
import { cudaAdvice, noAdapter } from './missing.ts'
import { deviceVectors, hostVectors, onDevice, type Tensors, type Vectors } from './vectors.ts'
import { vulkanDrivers } from './vulkan.ts'

// What goes wrong comes as an exception; the log would say it again, in its own words.
ort.env.logLevel = 'fatal'

/** Graphs that run once or few times are not worth optimising; onnxruntime's rewrites do not speed up the step. */
const sessionOptions = {
  graphOptimizationLevel: 'disabled',
  // Planning memory ahead costs half as much again at the same speed: measured on the training step.
  enableMemPattern: false,
} as const satisfies ort.InferenceSession.SessionOptions

interface CompileOptions extends ort.InferenceSession.SessionOptions {
  readonly device?: Device
  readonly blockWidth?: number | null
}

/**
 * Compiles recorded outputs for this process.
 * @throws UserError where onnxruntime cannot compute on the device
 */
export async function compile(
  outputs: Readonly<Record<string, Node>>,
  tables: ReadonlyMap<string, Float32Array>,
  { device = 'cpu', blockWidth = null, ...options }: CompileOptions = {},
): Promise<ort.InferenceSession> {
  // WebGPU has no FusedMatMul: each of them would fetch its factors from the device and bring the product back.
  const dialect = device === 'cpu' ? 'onnxruntime' : 'standard'
  const bytes = toOnnx(outputs, { dialect, weights: tables, blockWidth })
  try {
    return await ort.InferenceSession.create(bytes, {
      ...sessionOptions,
      executionProviders: device === 'cpu' ? ['cpu'] : [{ name: device }, 'cpu'],
      ...options,
    })
  } catch (error) {
    const message = (error as Error).message.trim().split('\n').at(-1)!
    if (device === 'webgpu' && /adapter/i.test(message)) throw new UserError(noAdapter)
    if (device === 'cuda') throw new UserError(cudaAdvice(message))
    throw error
  }
}

/** A compiled step: reads scalars and batches, and moves the state on, if what comes out is finite. */
interface CompiledStep {
  run(batches: readonly Tensors[], scalars: ort.Tensor): Promise<StepResult>
  release(): Promise<void>
}

/** Compiles a graph for the engine's device; the next ones of `vectors` stay where those live. */
type Compile = (
  outputs: Readonly<Record<string, Node>>,
  vectors?: readonly string[],
) => Promise<ort.InferenceSession>

/** Takes the next state, unless the step went wrong. */
function settle(state: Vectors, results: Tensors, loss: number, gradientNorm: number): StepResult {
  const finite = Number.isFinite(loss) && Number.isFinite(gradientNorm)
  if (finite) state.advance(results)
  else state.discard(results)
  return { loss, gradientNorm, finite }
}

/** A step of one batch is one graph. */
async function wholeStep(compile: Compile, spec: StepSpec, state: Vectors): Promise<CompiledStep> {
  const session = await compile(trainingGraph(spec), Object.keys(state.feeds()))
  return {
    async run([batch], scalars) {
      const results = await session.run(
        { ...batch, ...state.feeds(), scalars },
        { loss: null, gradientNorm: null, ...state.fetches() },
      )
      return settle(state, results, numberIn('loss', results), numberIn('gradientNorm', results))
    },
    release: () => session.release(),
  }
}

/** A step of several micro-batches is two graphs: one adds up their gradients, the other one updates. */
async function accumulatedStep(
  compile: Compile,
  spec: StepSpec,
  state: Vectors,
  accumulated: Vectors,
): Promise<CompiledStep> {
  const accumulation = await compile(accumulationGraph(spec), Object.keys(accumulated.feeds()))
  const update = await compile(updateGraph(spec), Object.keys(state.feeds()))
  const isParameter = ([name]: readonly [string, ort.Tensor]) => name.startsWith('parameters.')
  return {
    async run(batches, scalars) {
      const parameters = Object.fromEntries(Object.entries(state.feeds()).filter(isParameter))
      accumulated.clear()
      let total = 0
      for (const batch of batches) {
        const results = await accumulation.run(
          { ...batch, ...parameters, ...accumulated.feeds() },
          { loss: null, ...accumulated.fetches() },
        )
        accumulated.advance(results)
        total += numberIn('loss', results)
      }
      const results = await update.run(
        { ...state.feeds(), ...accumulated.feeds(), scalars },
        { gradientNorm: null, ...state.fetches() },
      )
      return settle(state, results, total / batches.length, numberIn('gradientNorm', results))
    },
    async release() {
      accumulated.dispose()
      await accumulation.release()
      await update.release()
    },
  }
}

/**
 * Training by compiled graphs: the whole step is one, or two where it is cut into micro-batches. The state before a
 * step that went wrong is still there. On WebGPU the state stays on the device.
 * @param state taken over, not copied
 * @param options.threads as many as there are cores unless told; results are the same bit for bit at the same number
 * @throws UserError where onnxruntime cannot compute on the device
 */
export async function createOnnxruntimeEngine(
  spec: StepSpec,
  tables: ReadonlyMap<string, Float32Array>,
  state: TrainingState,
  { device = 'cpu', threads = availableParallelism() }: { device?: Device; threads?: number } = {},
): Promise<Engine> {
  const stays = device === 'webgpu'
  const blockWidth = device === 'cpu' ? await findBlockWidth() : null
  const compileHere: Compile = (outputs, vectors = []) =>
    compile(outputs, tables, {
      device,
      intraOpNumThreads: threads,
      blockWidth,
      ...(stays && onDevice(vectors)),
    })
  const { channels, height, width } = {
    channels: spec.unet.inputChannels,
    height: spec.height,
    width: spec.width,
  }

  const chunks = stateChunks(spec.unet)
  /** Views of a state's vectors, as the graph takes them. */
  const tensorsOf = (values: TrainingState): Tensors =>
    Object.fromEntries(
      stateNames.flatMap((name) =>
        chunks.map(({ start, end }, i) => [chunkName(name, i), vector(values[name].subarray(start, end))]),
      ),
    )
  const zeros = (): Tensors =>
    Object.fromEntries(
      chunks.map(({ start, end }, i) => [chunkName('accumulated', i), vector(new Float32Array(end - start))]),
    )

  const values = [state, stays ? state : mapState((name) => new Float32Array(state[name].length))] as const
  const host = stays ? null : hostVectors([tensorsOf(values[0]), tensorsOf(values[1])])
  const held: Vectors = host ?? deviceVectors(tensorsOf(state))
  const accumulate = spec.accumulate ?? 1
  const training = await (accumulate === 1
    ? wholeStep(compileHere, spec, held)
    : accumulatedStep(
        compileHere,
        spec,
        held,
        stays ? deviceVectors(zeros()) : hostVectors([zeros(), zeros()]),
      ))
  let prediction: ort.InferenceSession | null = null
  let download: ort.InferenceSession | null = null

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
    description: `onnxruntime ${ort.env.versions.node ?? ''} on ${describe(device, threads)}`,

    async step(batches, scalars): Promise<StepResult> {
      if (batches.length !== accumulate)
        throw new Error(`Found ${batches.length} micro-batches; this engine was made for ${accumulate}.`)
      return training.run(batches.map(batchFeeds), vector(scalars))
    },

    async predict(weights, x, timestep, label) {
      prediction ??= await compile(predictionGraph(spec), tables, { device, intraOpNumThreads: threads })
      const tensors = held.feeds()
      const from = weights === 'ema' ? 'ema' : 'parameters'
      const { output } = await prediction.run({
        ...Object.fromEntries(
          chunks.map((_, i) => [chunkName('parameters', i), tensors[chunkName(from, i)]!]),
        ),
        x: new ort.Tensor('float32', x, [timestep.length, channels, height, width]),
        timestep: vector(timestep),
        ...(label && { label: vector(label) }),
      })
      return output!.data as Float32Array
    },

    async state() {
      if (host) return values[host.present()]
      // Tensor.getData() of onnxruntime-node 1.30 ends the process; a graph that hands its inputs on does not.
      download ??= await compileHere(copies(held.feeds()))
      const found = await download.run(held.feeds())
      return mapState((name) => {
        const whole = new Float32Array(state[name].length)
        for (const [i, { start }] of chunks.entries())
          whole.set(found[`copy.${chunkName(name, i)}`]!.data as Float32Array, start)
        return whole
      })
    },

    async dispose() {
      // Tensors first: a session takes the memory of its outputs along.
      held.dispose()
      await training.release()
      await prediction?.release()
      await download?.release()
    },
  }
}

/** Every vector as it is. */
function copies(tensors: Tensors): Record<string, Node> {
  const { input } = createGraph()
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { size }]) => [`copy.${name}`, input(name, [size])]),
  )
}

function describe(device: Device, threads: number): string {
  if (device === 'cpu') return `the CPU, ${threads} thread${threads === 1 ? '' : 's'}`
  return device === 'cuda' ? 'CUDA' : ['WebGPU', ...vulkanDrivers()].join(', ')
}

function numberIn(name: string, results: Tensors): number {
  return (results[name]!.data as Float32Array)[0]!
}

function vector(values: Float32Array): ort.Tensor {
  return new ort.Tensor('float32', values, [values.length])
}
