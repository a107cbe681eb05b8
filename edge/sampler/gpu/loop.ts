import {
  type Conditioning,
  fillNoise,
  historyLength,
  type LoopState,
  type Manifest,
  type Plan,
  type SamplingLoop,
  type SamplingRequest,
  Suspension,
} from '@ddpm/shared'
import * as ort from 'onnxruntime-web'
import { splitBatches } from '../base/batches.ts'
import { toFailure } from '../base/errors.ts'
import { concatenate } from '../base/images.ts'
import { type CreateStepper, compileRow, maxHistory, type RowStepper } from './row.ts'

/** Max number of steps in the GPU's queue. Above it, the loop waits for the oldest step. */
const stepsAhead = 2

export interface GpuContext {
  readonly session: ort.InferenceSession
  readonly device: GPUDevice
  readonly manifest: Manifest
  /** Number of output values of the network per image. */
  readonly stride: number
  /** Max number of images per forward pass. */
  readonly batchSize: number
}

/**
 * Creates a sampling loop that runs on the GPU. x, earlier x̂₀ and the network's output stay in GPU memory from the
 * first step to the last. Only previews and the final images are read back. The noise is computed on the CPU in
 * parallel, with the same bits as in the other loops.
 * @param fallback loop for unsupported options (dynamic thresholding, guidance rescale and RePaint), and for tasks that
 * do not fit into GPU memory
 */
export async function createGpuLoop(context: GpuContext, fallback: SamplingLoop): Promise<SamplingLoop> {
  const createStepper = await compileRow(context.device)
  return (plan, conditioning, request) =>
    isSupported(plan, conditioning, request)
      ? run(context, createStepper, plan, conditioning, request).catch((error) => {
          if (toFailure(error).code !== 'out-of-memory') throw error
          return fallback(plan, conditioning, request)
        })
      : fallback(plan, conditioning, request)
}

function isSupported({ rows }: Plan, conditioning: Conditioning, { afterRow }: SamplingRequest): boolean {
  return (
    !afterRow &&
    !(needsTwoPasses(conditioning) && conditioning.rescale > 0) &&
    rows.every(
      ({ t, clamp, c }) =>
        t !== null && (clamp === null || typeof clamp === 'number') && c.length <= maxHistory,
    )
  )
}

/** Returns whether guidance needs a forward pass with the class and another one without it. */
function needsTwoPasses({ classes, scale }: Conditioning): boolean {
  return classes > 0 && scale !== 0 && scale !== 1
}

async function run(
  context: GpuContext,
  createStepper: CreateStepper,
  plan: Plan,
  conditioning: Conditioning,
  request: SamplingRequest,
): Promise<Float32Array> {
  const { rows } = plan
  const { seed, indices, size, isDue = () => true, onStep, signal, resume } = request
  const { isSuspended = () => false } = request
  const first = resume?.index ?? 0
  const initial = resume?.x ?? request.from ?? initialNoise(plan, request)
  const ranges = splitBatches(indices.length, context.batchSize)
  const batches = ranges.map(({ start, end }) =>
    createBatch(context, createStepper, {
      indices: indices.slice(start, end),
      labels: conditioning.labels.subarray(start, end),
      initial: initial.subarray(start * size, end * size),
      conditioning,
      ringSize: historyLength(plan) + 1,
    }),
  )
  for (const [k, values] of (resume?.recent ?? []).entries()) {
    for (const [i, { start, end }] of ranges.entries()) {
      batches[i]!.writeX0(first - 1 - k, values.subarray(start * size, end * size))
    }
  }
  const pending: Promise<undefined>[] = []
  try {
    for (let index = first; index < rows.length; index++) {
      const row = rows[index]!
      signal?.throwIfAborted()
      if (isSuspended()) throw new Suspension(await readState(batches, index, historyLength(plan)))
      for (const batch of batches) {
        await batch.evaluate(row.t!)
        if (row.d !== 0) batch.setNoise(seed, index + 1)
        batch.stepper.step(row, index)
      }
      pending.push(context.device.queue.onSubmittedWorkDone())
      if (pending.length > stepsAhead) await pending.shift()
      if (!onStep) continue
      const preview = isDue(index, rows.length) ? await readAll(batches, index) : noPreview
      await onStep({ step: index, steps: rows.length, t: row.t!, ...preview })
    }
    return (await readAll(batches, rows.length - 1)).x
  } finally {
    for (const batch of batches) batch.dispose()
  }
}

const empty = new Float32Array(0)
const noPreview = { x: empty, x0: empty }

function initialNoise({ start }: Plan, { seed, indices, size }: SamplingRequest): Float32Array {
  const x = new Float32Array(indices.length * size)
  fillNoise(seed, indices, 0, x)
  return start === 1 ? x : x.map((value) => start * value)
}

/** Reads back the state before a row. Rows before the first one have no x̂₀, and no row refers to them. */
async function readState(batches: readonly Batch[], index: number, history: number): Promise<LoopState> {
  const earlier = Array.from({ length: Math.max(history, 1) }, (_, k) => index - 1 - k)
  const parts = await Promise.all(earlier.map((row) => readAll(batches, Math.max(row, 0))))
  return { index, x: parts[0]!.x, recent: parts.slice(0, history).map(({ x0 }) => x0) }
}

interface BatchOptions {
  /** Indices of the images among the images of the seed. */
  readonly indices: readonly number[]
  /** [count] */
  readonly labels: Float32Array
  /** x of the first row, [count, size]. */
  readonly initial: Float32Array
  readonly conditioning: Conditioning
  /** Number of x̂₀ to retain: the current one and the earlier ones that rows refer to. */
  readonly ringSize: number
}

/** Images that share a forward pass, with their own GPU memory. */
interface Batch {
  readonly stepper: RowStepper
  /** Runs the forward passes on x that guidance needs: with the class, without it, or both. */
  evaluate(t: number): Promise<void>
  /** Fills z with the noise of a step. */
  setNoise(seed: number, step: number): void
  /** Stores the x̂₀ of an earlier row. */
  writeX0(index: number, values: Float32Array): void
  /** Reads back x and the x̂₀ of a row. */
  read(index: number): Promise<{ x: Float32Array; x0: Float32Array }>
  dispose(): void
}

function createBatch(
  { session, device, manifest: { shape, inputs, output }, stride }: GpuContext,
  createStepper: CreateStepper,
  { indices, labels, initial, conditioning, ringSize }: BatchOptions,
): Batch {
  const count = indices.length
  const { length } = initial
  const size = length / count
  const { height, width } = shape
  const buffers: GPUBuffer[] = []
  const createBuffer = (values: number) => {
    const buffer = device.createBuffer({
      // onnxruntime copies in units of 16 bytes.
      size: Math.ceil(values / 4) * 16,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    })
    buffers.push(buffer)
    return buffer
  }
  const x = createBuffer(length)
  device.queue.writeBuffer(x, 0, initial as Float32Array<ArrayBuffer>)
  const x0s = createBuffer(ringSize * length)
  const z = createBuffer(length)
  const { classes, scale } = conditioning
  const noClass = new Float32Array(count).fill(classes)
  const twoPasses = needsTwoPasses(conditioning)
  const conditional = createBuffer(count * stride)
  const unconditional = twoPasses ? createBuffer(count * stride) : conditional
  const stepper = createStepper(
    { x, x0s, conditional, unconditional, z },
    { length, size, stride, ringSize, scale: twoPasses ? scale : 1 },
  )
  const gpuTensor = (gpuBuffer: GPUBuffer, values: number) =>
    ort.Tensor.fromGpuBuffer(gpuBuffer, {
      dataType: 'float32',
      dims: [count, values / (height * width), height, width],
    })
  // Timesteps and labels are CPU tensors: onnxruntime copies GPU buffers for these inputs back to the CPU and fails.
  const column = (values: Float32Array) => new ort.Tensor('float32', values, [count])
  const passes = [
    { label: scale === 0 ? noClass : labels, target: conditional },
    ...(twoPasses ? [{ label: noClass, target: unconditional }] : []),
  ].map(({ label, target }) => ({
    feeds: {
      [inputs.sample]: gpuTensor(x, size),
      ...(inputs.label !== null && classes > 0 && { [inputs.label]: column(label) }),
    },
    fetches: { [output]: gpuTensor(target, stride) },
  }))
  const noise = new Float32Array(length)
  const times = new Float32Array(count)
  return {
    stepper,
    async evaluate(t) {
      const timestep = { [inputs.timestep]: column(times.fill(t)) }
      for (const { feeds, fetches } of passes) await session.run({ ...feeds, ...timestep }, fetches)
    },
    setNoise(seed, step) {
      fillNoise(seed, indices, step, noise)
      device.queue.writeBuffer(z, 0, noise)
    },
    writeX0(index, values) {
      const slot = (index + maxHistory * ringSize) % ringSize
      device.queue.writeBuffer(x0s, slot * length * 4, values as Float32Array<ArrayBuffer>)
    },
    read: (index) => readBack(device, [x, 0], [x0s, (index % ringSize) * length], length),
    dispose() {
      stepper.dispose()
      for (const buffer of buffers) buffer.destroy()
    },
  }
}

type Slice = readonly [buffer: GPUBuffer, start: number]

/** Reads two slices of GPU memory with one copy and one wait. */
async function readBack(device: GPUDevice, x: Slice, x0: Slice, length: number) {
  const staging = device.createBuffer({
    size: 2 * length * 4,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  })
  const encoder = device.createCommandEncoder()
  for (const [i, [buffer, start]] of [x, x0].entries()) {
    encoder.copyBufferToBuffer(buffer, start * 4, staging, i * length * 4, length * 4)
  }
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  const values = new Float32Array(staging.getMappedRange().slice(0))
  staging.destroy()
  return { x: values.subarray(0, length), x0: values.subarray(length) }
}

/** Reads back the images of all batches. */
async function readAll(batches: readonly Batch[], index: number) {
  const parts = await Promise.all(batches.map((batch) => batch.read(index)))
  if (parts.length === 1) return parts[0]!
  return { x: concatenate(parts.map(({ x }) => x)), x0: concatenate(parts.map(({ x0 }) => x0)) }
}
