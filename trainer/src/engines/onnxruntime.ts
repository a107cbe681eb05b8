import { availableParallelism } from 'node:os'
import { UserError } from '@ddpm/shared'
import ort from 'onnxruntime-node'
import type { Node } from '../algebra/graph.ts'
import { toOnnx } from '../compile/onnx/model.ts'
import { layoutOf } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import type { Batch, Device, Engine, StepResult, TrainingState } from '../step/engine.ts'
import { clipScale } from '../step/optimizer.ts'
import { gradientGraph, predictionGraph, type StepSpec } from '../step/step.ts'
import { findBlockWidth } from './block-width.ts'
import { cudaAdvice, noAdapter } from './install-hints.ts'
import { deviceMemory, hostMemory, type Tensors } from './memory.ts'
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

/**
 * Training by compiled graphs: one computes gradients, the other one updates, when the gradients are known to be finite;
 * the state before a step that went wrong is still there. On WebGPU state and gradients stay on the device.
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
  const compileHere = (outputs: Readonly<Record<string, Node>>, kept: readonly string[] = []) =>
    compile(outputs, tables, {
      device,
      intraOpNumThreads: threads,
      blockWidth,
      ...(stays && {
        preferredOutputLocation: Object.fromEntries(kept.map((name) => [name, 'gpu-buffer' as const])),
      }),
    })
  const { unet: config, height, width, accumulate = 1 } = spec
  const channels = config.inputChannels
  const layout = layoutOf(parameterSpecs(config))
  const memory = stays
    ? await deviceMemory(state, layout, spec.adam, compileHere)
    : hostMemory(state, layout, spec.adam)
  const differentiation = await compileHere(
    gradientGraph(spec, memory.chunks),
    Object.keys(memory.gradientFetches()),
  )
  let prediction: ort.InferenceSession | null = null

  function batchFeeds({ x0, noise, timestep, label, coefficients, dropout }: Batch): Tensors {
    const n = timestep.length
    const image = [n, channels, height, width]
    return {
      x0: new ort.Tensor('float32', x0, image),
      noise: new ort.Tensor('float32', noise, image),
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
      let total = 0
      let length = 0
      for (const [i, batch] of batches.entries()) {
        const results = await differentiation.run(
          {
            ...batchFeeds(batch),
            ...memory.parameters('raw'),
            ...(accumulate > 1 && memory.accumulated(i === 0)),
          },
          { loss: null, gradientNorm: null, ...memory.gradientFetches() },
        )
        memory.takeGradients(results)
        total += numberIn('loss', results)
        length = numberIn('gradientNorm', results)
      }
      const [loss, gradientNorm] = [total / accumulate, length / accumulate]
      const finite = Number.isFinite(loss) && Number.isFinite(gradientNorm)
      if (finite) await memory.update(clipScale(gradientNorm, spec.clipNorm) / accumulate, scalars)
      return { loss, gradientNorm, finite }
    },

    async predict(weights, x, timestep, label) {
      prediction ??= await compile(predictionGraph(spec, memory.chunks), tables, {
        device,
        intraOpNumThreads: threads,
      })
      const { output } = await prediction.run({
        ...memory.parameters(weights),
        x: new ort.Tensor('float32', x, [timestep.length, channels, height, width]),
        timestep: vector(timestep),
        ...(label && { label: vector(label) }),
      })
      return output!.data as Float32Array
    },

    state: () => memory.state(),

    async dispose() {
      await memory.dispose()
      await differentiation.release()
      await prediction?.release()
    },
  }
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
