import {
  type Conditioning,
  depthOf,
  fillNoise,
  type Loop,
  type Manifest,
  type Plan,
  type SamplingRequest,
} from '@ddpm/shared'
import * as ort from 'onnxruntime-web'
import { groupsOf } from '../base/batches.ts'
import { failureOf } from '../base/errors.ts'
import { joined } from '../base/images.ts'
import { compileRow, type MakeStepper, mostEarlier, type RowStepper } from './row.ts'

/** How many steps are handed to the graphics card before the first of them is waited for. */
const stepsAhead = 2

/** What the loop runs on. */
export interface OnGpu {
  readonly session: ort.InferenceSession
  readonly device: GPUDevice
  readonly manifest: Manifest
  /** Numbers per picture of the network's output. */
  readonly stride: number
  /** How many pictures the network is given at once. */
  readonly atOnce: number
}

/**
 * The sampling loop on the graphics card: x, earlier x_0 and the network's output stay there from the first step to the
 * last. What comes back are pictures on their way, where they are due, and the last ones. Noise is drawn here, the same
 * bits as everywhere, while the card computes.
 * @param elsewhere runs what this loop does not, dynamic thresholds, guidance rescale and RePaint, and what does not
 * fit into its memory
 */
export async function loopOnGpu(on: OnGpu, elsewhere: Loop): Promise<Loop> {
  const makeStepper = await compileRow(on.device)
  return (plan, asked, request) =>
    canRun(plan, asked, request)
      ? run(on, makeStepper, plan, asked, request).catch((error) => {
          if (failureOf(error).code !== 'out-of-memory') throw error
          return elsewhere(plan, asked, request)
        })
      : elsewhere(plan, asked, request)
}

function canRun(
  { rows }: Plan,
  { classes, scale, rescale }: Conditioning,
  { afterRow }: SamplingRequest,
): boolean {
  const guidedTwice = classes > 0 && scale !== 0 && scale !== 1
  return (
    !afterRow &&
    !(guidedTwice && rescale > 0) &&
    rows.every(
      ({ t, clamp, c }) =>
        t !== null && (clamp === null || typeof clamp === 'number') && c.length <= mostEarlier,
    )
  )
}

async function run(
  on: OnGpu,
  makeStepper: MakeStepper,
  plan: Plan,
  asked: Conditioning,
  request: SamplingRequest,
): Promise<Float32Array> {
  const { rows } = plan
  const { seed, indices: images, size, isDue = () => true, onStep, signal } = request
  const first = request.from ?? firstNoise(plan, request)
  const groups = groupsOf(images.length, on.atOnce).map(({ start, end }) =>
    openGroup(on, makeStepper, {
      images: images.slice(start, end),
      labels: asked.labels.subarray(start, end),
      first: first.subarray(start * size, end * size),
      asked,
      kept: depthOf(plan) + 1,
    }),
  )
  const underWay: Promise<undefined>[] = []
  try {
    for (const [index, row] of rows.entries()) {
      signal?.throwIfAborted()
      for (const group of groups) {
        await group.ask(row.t!)
        if (row.d !== 0) group.setNoise(seed, index + 1)
        group.stepper.step(row, index)
      }
      underWay.push(on.device.queue.onSubmittedWorkDone())
      if (underWay.length > stepsAhead) await underWay.shift()
      if (!onStep) continue
      const shown = isDue(index, rows.length) ? await readAll(groups, index) : { x: nothing, x0: nothing }
      await onStep({ step: index, steps: rows.length, t: row.t!, ...shown })
    }
    return (await readAll(groups, rows.length - 1)).x
  } finally {
    for (const group of groups) group.dispose()
  }
}

const nothing = new Float32Array(0)

function firstNoise({ start }: Plan, { seed, indices: images, size }: SamplingRequest): Float32Array {
  const x = new Float32Array(images.length * size)
  fillNoise(seed, images, 0, x)
  return start === 1 ? x : x.map((value) => start * value)
}

interface GroupStart {
  readonly images: readonly number[]
  readonly labels: Float32Array
  /** x of the first row. */
  readonly first: Float32Array
  readonly asked: Conditioning
  readonly kept: number
}

/** Pictures that the network is given together, in memory of their own. */
interface Group {
  readonly stepper: RowStepper
  /** Runs the network on x, with the label, without, or both ways. */
  ask(t: number): Promise<void>
  setNoise(seed: number, step: number): void
  /** x and the x_0 of the row `index`. */
  read(index: number): Promise<{ x: Float32Array; x0: Float32Array }>
  dispose(): void
}

function openGroup(
  { session, device, manifest: { shape, inputs, output }, stride }: OnGpu,
  makeStepper: MakeStepper,
  { images, labels, first, asked, kept }: GroupStart,
): Group {
  const count = images.length
  const { length } = first
  const size = length / count
  const { height, width } = shape
  const buffers: GPUBuffer[] = []
  const buffer = (numbers: number) => {
    const made = device.createBuffer({
      // onnxruntime copies in units of 16 bytes.
      size: Math.ceil(numbers / 4) * 16,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    })
    buffers.push(made)
    return made
  }
  const x = buffer(length)
  device.queue.writeBuffer(x, 0, first as Float32Array<ArrayBuffer>)
  const x0s = buffer(kept * length)
  const z = buffer(length)
  const { classes, scale } = asked
  const none = new Float32Array(count).fill(classes)
  const twice = classes > 0 && scale !== 0 && scale !== 1
  const conditional = buffer(count * stride)
  const unconditional = twice ? buffer(count * stride) : conditional
  const stepper = makeStepper(
    { x, x0s, conditional, unconditional, z },
    { length, size, stride, kept, scale: twice ? scale : 1 },
  )
  const onCard = (gpuBuffer: GPUBuffer, numbers: number) =>
    ort.Tensor.fromGpuBuffer(gpuBuffer, {
      dataType: 'float32',
      dims: [count, numbers / (height * width), height, width],
    })
  // Timesteps and labels come from here: given as buffers of the card, onnxruntime copied them back, and failed.
  const column = (values: Float32Array) => new ort.Tensor('float32', values, [count])
  const evaluations = [
    { label: scale === 0 ? none : labels, to: conditional },
    ...(twice ? [{ label: none, to: unconditional }] : []),
  ].map(({ label, to }) => ({
    feeds: {
      [inputs.sample]: onCard(x, size),
      ...(inputs.label !== null && classes > 0 && { [inputs.label]: column(label) }),
    },
    fetches: { [output]: onCard(to, stride) },
  }))
  const noise = new Float32Array(length)
  const times = new Float32Array(count)
  return {
    stepper,
    async ask(t) {
      const timestep = { [inputs.timestep]: column(times.fill(t)) }
      for (const { feeds, fetches } of evaluations) await session.run({ ...feeds, ...timestep }, fetches)
    },
    setNoise(seed, step) {
      fillNoise(seed, images, step, noise)
      device.queue.writeBuffer(z, 0, noise)
    },
    read: (index) => readBack(device, [x, 0], [x0s, (index % kept) * length], length),
    dispose() {
      stepper.dispose()
      for (const made of buffers) made.destroy()
    },
  }
}

type Place = readonly [buffer: GPUBuffer, from: number]

/** Two parts of the card's memory as numbers, by one copy and one wait. */
async function readBack(device: GPUDevice, x: Place, x0: Place, length: number) {
  const staging = device.createBuffer({
    size: 2 * length * 4,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  })
  const encoder = device.createCommandEncoder()
  for (const [i, [buffer, from]] of [x, x0].entries()) {
    encoder.copyBufferToBuffer(buffer, from * 4, staging, i * length * 4, length * 4)
  }
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  const values = new Float32Array(staging.getMappedRange().slice(0))
  staging.destroy()
  return { x: values.subarray(0, length), x0: values.subarray(length) }
}

async function readAll(groups: readonly Group[], index: number) {
  const parts = await Promise.all(groups.map((group) => group.read(index)))
  if (parts.length === 1) return parts[0]!
  return { x: joined(parts.map(({ x }) => x)), x0: joined(parts.map(({ x0 }) => x0)) }
}
