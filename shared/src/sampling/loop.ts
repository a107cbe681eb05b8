import { UserError } from '../base/errors.ts'
import { quantileOfSorted } from '../base/statistics.ts'
import { convertOutput } from '../diffusion/process.ts'
import { type Clamp, historyLength, type Plan, type Row } from '../planning/plan.ts'
import { domains, fillNormals } from '../random/random.ts'

/**
 * The model with its conditioning applied: predicts ε, x_0 or v for a batch at one timestep. Takes [count, size] and
 * returns the same shape, or [count, 2·size] if the model also predicts variances: each image's prediction is then
 * followed by its variances.
 */
export type Denoiser = (x: Float32Array, t: number) => Float32Array | Promise<Float32Array>

export interface SamplingStep {
  /** Index of the completed row. */
  readonly step: number
  /** Number of rows. */
  readonly steps: number
  readonly t: number
  /** x after the step, [count, size]. Empty if `isDue` returned false. Valid until the next step. */
  readonly x: Float32Array
  /** The predicted x̂₀ of this step, [count, size]. Empty if `isDue` returned false. Valid until the next step. */
  readonly x0: Float32Array
}

/** State between two rows, from which another run of the same plan resumes. */
export interface LoopState {
  /** Index of the next row. */
  readonly index: number
  /** [count, size] */
  readonly x: Float32Array
  /** x̂₀ of earlier rows that later rows need, latest first; each [count, size]. */
  readonly recent: readonly Float32Array[]
}

/** Thrown by a run that `isSuspended` ended. It is not an Error, because nothing is wrong. */
export class Suspension {
  /** State to resume from; null: the run had not started. */
  readonly state: LoopState | null

  constructor(state: LoopState | null) {
    this.state = state
  }
}

export interface SamplingRequest {
  readonly seed: number
  /** Indices of the images of this seed. An image does not depend on the batch in which it is generated. */
  readonly indices: readonly number[]
  /** Values per image: channels · height · width. */
  readonly size: number
  /** Initial x, [count, size]. Default: noise of the seed, scaled by the plan's `start`. */
  readonly from?: Float32Array
  /** Called after each row; may change x in place, as inpainting does. */
  readonly afterRow?: (x: Float32Array, row: Row, index: number) => void
  /** Returns whether `onStep` needs x and x̂₀ after a step. They may have to be copied from a GPU. Default: always. */
  readonly isDue?: (step: number, steps: number) => boolean
  readonly onStep?: (step: SamplingStep) => void | Promise<void>
  readonly signal?: AbortSignal
  /** State of a suspended run to resume from. */
  readonly resume?: LoopState
  /** Returns whether to stop before the next row and to throw a `Suspension`. Default: never. */
  readonly isSuspended?: () => boolean
}

const empty = new Float32Array(0)

/**
 * Runs a plan: converts noise, or the initial x of the request, to images. All buffers are allocated before the first step.
 * @returns [indices.length, size], about [−1, 1]
 * @throws UserError if the plan needs predicted variances and the model has none; the signal's reason if aborted;
 * Suspension
 */
export async function runPlan(
  plan: Plan,
  denoise: Denoiser,
  request: SamplingRequest,
): Promise<Float32Array> {
  const { seed, indices, size, from, afterRow, isDue = () => true, onStep, signal, resume } = request
  const { isSuspended = () => false } = request
  const { rows } = plan
  const count = indices.length
  const length = count * size
  let x = new Float32Array(length)
  let next = new Float32Array(length)
  const z = new Float32Array(length)
  /** x̂₀ of this step and of earlier ones, latest first. */
  const recent = Array.from({ length: historyLength(plan) + 1 }, () => new Float32Array(length))
  const scratch = new Float32Array(rows.some(({ clamp }) => isThreshold(clamp)) ? size : 0)

  if (resume) {
    x.set(resume.x)
    for (const [k, values] of resume.recent.entries()) recent[k]!.set(values)
  } else if (from) {
    x.set(from)
  } else {
    fillNoise(seed, indices, 0, x)
    if (plan.start !== 1) for (let i = 0; i < length; i++) x[i]! *= plan.start
  }
  const first = resume?.index ?? 0
  let t = rows.slice(0, first + 1).findLast((row) => row.t !== null)?.t ?? 0
  for (let index = first; index < rows.length; index++) {
    const row = rows[index]!
    signal?.throwIfAborted()
    if (isSuspended()) throw new Suspension({ index, x, recent: recent.slice(0, -1) })
    if (row.d !== 0) fillNoise(seed, indices, index + 1, z)
    if (row.t === null) {
      for (let i = 0; i < length; i++) next[i] = row.a * x[i]! + (row.d as number) * z[i]!
    } else {
      t = row.t
      const output = await denoise(x, t)
      signal?.throwIfAborted()
      rotate(recent)
      const stride = outputStride(output, count, size, row)
      convertOutput([row.p, row.q], { xt: x, output, count }, recent[0]!)
      clampX0(row.clamp, recent[0]!, size, scratch)
      stepX(row, x, recent, output, stride, size, z, next)
    }
    const previous = x
    x = next
    next = previous
    afterRow?.(x, row, index)
    const values = isDue(index, rows.length) ? { x, x0: recent[0]! } : { x: empty, x0: empty }
    await onStep?.({ step: index, steps: rows.length, t, ...values })
  }
  return x
}

/**
 * Fills an array with the noise of a step. The noise of an image does not depend on the batch.
 * @param step 0 for the initial noise, index + 1 for the row with this index
 * @param out [indices.length, size]
 */
export function fillNoise(
  seed: number,
  indices: readonly number[],
  step: number,
  out: Float32Array,
  domain: number = domains.sampling,
): void {
  const size = out.length / indices.length
  for (let i = 0; i < indices.length; i++) {
    fillNormals(seed, { domain, image: indices[i]!, step }, out, i * size, size)
  }
}

/** Moves the last array to the front. */
function rotate(arrays: Float32Array[]): void {
  const last = arrays[arrays.length - 1]!
  for (let i = arrays.length - 1; i > 0; i--) arrays[i] = arrays[i - 1]!
  arrays[0] = last
}

/** Checks the length of the model's output and returns its number of values per image. */
function outputStride(output: Float32Array, count: number, size: number, { d }: Row): number {
  const stride = output.length / count
  if (stride === 2 * size || (stride === size && typeof d === 'number')) return stride
  const expected =
    typeof d === 'number'
      ? `${size} values per image, or ${2 * size} with predicted variances`
      : `${2 * size} values per image, half of them predicted variances`
  throw new UserError(`Invalid model output: expected ${expected}, got ${output.length} for ${count} images.`)
}

function isThreshold(clamp: Clamp): boolean {
  return clamp !== null && typeof clamp !== 'number'
}

/** Clamps x̂₀ in place. */
function clampX0(clamp: Clamp, x0: Float32Array, size: number, scratch: Float32Array): void {
  if (clamp === null) return
  if (typeof clamp === 'number') {
    for (let i = 0; i < x0.length; i++) x0[i] = Math.min(Math.max(x0[i]!, -clamp), clamp)
    return
  }
  for (let start = 0; start < x0.length; start += size) {
    for (let i = 0; i < size; i++) scratch[i] = Math.abs(x0[start + i]!)
    const s = Math.min(Math.max(quantileOfSorted(scratch.sort(), clamp.ratio), 1), clamp.max)
    for (let i = start; i < start + size; i++) x0[i] = Math.min(Math.max(x0[i]!, -s), s) / s
  }
}

/** Computes x after a row into `next`: a·x + b·x̂₀ + Σ c·earlier x̂₀ + e·output + d·z. */
function stepX(
  { a, b, c, d, e }: Row,
  x: Float32Array,
  recent: readonly Float32Array[],
  output: Float32Array,
  stride: number,
  size: number,
  z: Float32Array,
  next: Float32Array,
): void {
  const x0 = recent[0]!
  for (let start = 0, from = 0; start < x.length; start += size, from += stride) {
    const end = start + size
    const shift = from - start
    for (let i = start; i < end; i++) next[i] = a * x[i]! + b * x0[i]! + e * output[i + shift]!
    for (const [k, weight] of c.entries()) {
      const earlier = recent[k + 1]!
      for (let i = start; i < end; i++) next[i]! += weight * earlier[i]!
    }
    if (typeof d !== 'number') {
      for (let i = start; i < end; i++) next[i]! += predictedDeviation(d, output[i + shift + size]!) * z[i]!
    } else if (d !== 0) {
      for (let i = start; i < end; i++) next[i]! += d * z[i]!
    }
  }
}

/** Returns σ from log σ² = f·log β + (1−f)·log β̃ with f = (v+1)/2: Nichol & Dhariwal 2021, eq. 15. */
function predictedDeviation([small, large]: readonly [number, number], v: number): number {
  const f = (v + 1) / 2
  return Math.exp((f * large + (1 - f) * small) / 2)
}
