import { availableParallelism } from 'node:os'
import { UserError } from '@ddpm/shared'
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import type { Node } from '../algebra/graph.ts'
import { toOnnx } from '../compile/onnx/model.ts'
import { createParameterLayout } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { prepareCuda } from '../setup/cuda.ts'
import type { Batch, Device, Engine, StepResult, TrainingState } from '../step/engine.ts'
import { predictionGraph } from '../step/inference-graphs.ts'
import { clipScale } from '../step/optimizer.ts'
import type { StepSpec } from '../step/spec.ts'
import { gradientGraph } from '../step/training-graphs.ts'
import ort from '../support/onnxruntime-node.ts'
import { detectBlockWidth } from './block-width.ts'
import { noWebgpuAdapter, onnxruntimeCudaHint } from './install-hints.ts'
import { deviceMemory, hostMemory, type Tensors } from './memory.ts'
import { vulkanDrivers } from './vulkan.ts'

// Errors are thrown as exceptions. The log would only repeat them.
ort.env.logLevel = 'fatal'

/** Graph optimizations are disabled: they do not speed up the training step, and they slow down creating a session. */
const sessionOptions = {
  graphOptimizationLevel: 'disabled',
  // With memory patterns, the training step needs 1.5 times the memory and has the same speed.
  enableMemPattern: false,
} as const satisfies InferenceSession.SessionOptions

interface CompileOptions extends InferenceSession.SessionOptions {
  readonly device?: Device
  readonly blockWidth?: number | null
}

/**
 * Compiles a recorded graph into an onnxruntime session.
 * @param tables constants of the graph by input name
 * @throws UserError if onnxruntime cannot compute on the device
 */
export async function compile(
  outputs: Readonly<Record<string, Node>>,
  tables: ReadonlyMap<string, Float32Array>,
  { device = 'cpu', blockWidth = null, ...options }: CompileOptions = {},
): Promise<InferenceSession> {
  // WebGPU has no FusedMatMul: onnxruntime would run it on the CPU and copy its inputs and output between the
  // devices.
  const dialect = device === 'cpu' ? 'onnxruntime' : 'standard'
  const bytes = toOnnx(outputs, { dialect, weights: tables, blockWidth })
  try {
    if (device === 'cuda') prepareCuda()
    return await ort.InferenceSession.create(bytes, {
      ...sessionOptions,
      executionProviders: device === 'cpu' ? ['cpu'] : [{ name: device }, 'cpu'],
      ...options,
    })
  } catch (error) {
    const message = (error as Error).message.trim()
    if (device === 'webgpu' && /adapter/i.test(message)) throw new UserError(noWebgpuAdapter)
    if (device === 'cuda') throw new UserError(onnxruntimeCudaHint(message))
    throw error
  }
}

/**
 * Creates an engine that trains with compiled graphs. The first graph computes the gradients. The state is updated only if
 * they are finite, so a failed step leaves it unchanged. On WebGPU, the state and the gradients stay on the device.
 * @param state initial state; the engine takes it over
 * @param options.threads Default: one per core. Results are bit-identical for the same number of threads.
 * @throws UserError if onnxruntime cannot compute on the device
 */
export async function createOnnxruntimeEngine(
  spec: StepSpec,
  tables: ReadonlyMap<string, Float32Array>,
  state: TrainingState,
  { device = 'cpu', threads = availableParallelism() }: { device?: Device; threads?: number } = {},
): Promise<Engine> {
  const onDevice = device === 'webgpu'
  const blockWidth = device === 'cpu' ? await detectBlockWidth() : null
  const compileStepGraph = (outputs: Readonly<Record<string, Node>>, deviceOutputs: readonly string[] = []) =>
    compile(outputs, tables, {
      device,
      intraOpNumThreads: threads,
      blockWidth,
      ...(onDevice && {
        preferredOutputLocation: Object.fromEntries(
          deviceOutputs.map((name) => [name, 'gpu-buffer' as const]),
        ),
      }),
    })
  const { unet: config, height, width, accumulate = 1 } = spec
  const channels = config.inputChannels
  const layout = createParameterLayout(parameterSpecs(config))
  const memory = onDevice
    ? await deviceMemory(state, layout, spec.adam, compileStepGraph)
    : hostMemory(state, layout, spec.adam)
  const gradientSession = await compileStepGraph(
    gradientGraph(spec, memory.chunks),
    Object.keys(memory.gradientFetches()),
  )
  let predictionSession: InferenceSession | null = null

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
    description: `onnxruntime ${ort.env.versions.node ?? ''} on ${describeDevice(device, threads)}`,

    async step(batches, scalars): Promise<StepResult> {
      if (batches.length !== accumulate)
        throw new Error(`Invalid step: expected ${accumulate} micro-batches, got ${batches.length}.`)
      let lossSum = 0
      let accumulatedNorm = 0
      for (const [i, batch] of batches.entries()) {
        const results = await gradientSession.run(
          {
            ...batchFeeds(batch),
            ...memory.parameters('raw'),
            ...(accumulate > 1 && memory.accumulated(i === 0)),
          },
          { loss: null, gradientNorm: null, ...memory.gradientFetches() },
        )
        memory.storeGradients(results)
        lossSum += scalarIn('loss', results)
        accumulatedNorm = scalarIn('gradientNorm', results)
      }
      const [loss, gradientNorm] = [lossSum / accumulate, accumulatedNorm / accumulate]
      const finite = Number.isFinite(loss) && Number.isFinite(gradientNorm)
      if (finite) await memory.update(clipScale(gradientNorm, spec.clipNorm) / accumulate, scalars)
      return { loss, gradientNorm, finite }
    },

    async predict(weights, x, timestep, label) {
      predictionSession ??= await compile(predictionGraph(spec, memory.chunks), tables, {
        device,
        intraOpNumThreads: threads,
      })
      const { output } = await predictionSession.run({
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
      await gradientSession.release()
      await predictionSession?.release()
    },
  }
}

function describeDevice(device: Device, threads: number): string {
  if (device === 'cpu') return `the CPU, ${threads} thread${threads === 1 ? '' : 's'}`
  return device === 'cuda' ? 'CUDA' : ['WebGPU', ...vulkanDrivers()].join(', ')
}

function scalarIn(name: string, results: Tensors): number {
  return (results[name]!.data as Float32Array)[0]!
}

function vector(values: Float32Array): Tensor {
  return new ort.Tensor('float32', values, [values.length])
}
