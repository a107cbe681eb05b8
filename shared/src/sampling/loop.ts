import { UserError } from '../base/errors.ts'
import { type Clamp, depthOf, type Plan, type Row } from '../planning/plan.ts'
import { domains, normals } from '../random/random.ts'

/**
 * ε_θ (or x_0, or v): [count, size] in, the same out, or [count, 2·size] where the network also says a variance, for
 * each picture after its own. All pictures of a batch are at the same timestep.
 */
export type Denoiser = (x: Float32Array, t: number) => Float32Array | Promise<Float32Array>

export interface SamplingStep {
  /** Index of the row just done and number of rows. */
  readonly step: number
  readonly steps: number
  readonly t: number
  /** x after the step, and the x_0 it was made from: [count, size], empty where not due. Valid until the next step. */
  readonly x: Float32Array
  readonly x0: Float32Array
}

export interface SamplingRequest {
  readonly seed: number
  /** Indices of the pictures of this seed to draw; a picture is the same in whatever batch it is drawn. */
  readonly indices: readonly number[]
  /** Numbers per picture: channels · height · width. */
  readonly size: number
  /** x that the first row takes, [count, size]; the plan's own noise unless given. */
  readonly from?: Float32Array
  /** May change x in place after a row, as inpainting does with what it keeps. */
  readonly afterRow?: (x: Float32Array, row: Row, index: number) => void
  /** Whether `onStep` looks at x and x_0 after this step, for they may have to be fetched; it always does unless told. */
  readonly isDue?: (step: number, steps: number) => boolean
  readonly onStep?: (step: SamplingStep) => void | Promise<void>
  readonly signal?: AbortSignal
}

const nothing = new Float32Array(0)

/**
 * Runs a plan from pure noise, or from a given x, to pictures: the one sampling loop. Its memory is laid out before the
 * first step; a step adds none.
 * @returns [indices.length, size], about [−1, 1]
 * @throws UserError where the plan wants a variance that the network does not say; the signal's reason when aborted
 */
export async function runPlan(
  plan: Plan,
  denoise: Denoiser,
  request: SamplingRequest,
): Promise<Float32Array> {
  const { seed, indices, size, from, afterRow, isDue = () => true, onStep, signal } = request
  const { rows } = plan
  const count = indices.length
  const length = count * size
  let x = new Float32Array(length)
  let next = new Float32Array(length)
  const z = new Float32Array(length)
  /** x_0 of this step and of earlier ones, latest first. */
  const recent = Array.from({ length: depthOf(plan) + 1 }, () => new Float32Array(length))
  const scratch = new Float32Array(rows.some(({ clamp }) => isThreshold(clamp)) ? size : 0)

  if (from) {
    x.set(from)
  } else {
    fillNoise(seed, indices, 0, x)
    if (plan.start !== 1) for (let i = 0; i < length; i++) x[i]! *= plan.start
  }
  let t = rows[0]?.t ?? 0
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index]!
    signal?.throwIfAborted()
    if (row.d !== 0) fillNoise(seed, indices, index + 1, z)
    if (row.t === null) {
      for (let i = 0; i < length; i++) next[i] = row.a * x[i]! + (row.d as number) * z[i]!
    } else {
      t = row.t
      const output = await denoise(x, t)
      signal?.throwIfAborted()
      rotate(recent)
      const stride = strideOf(output, count, size, row)
      readX0(row, x, output, stride, size, recent[0]!)
      bound(row.clamp, recent[0]!, size, scratch)
      stepX(row, x, recent, output, stride, size, z, next)
    }
    const held = x
    x = next
    next = held
    afterRow?.(x, row, index)
    const shown = isDue(index, rows.length) ? { x, x0: recent[0]! } : { x: nothing, x0: nothing }
    await onStep?.({ step: index, steps: rows.length, t, ...shown })
  }
  return x
}

/** The noise that step `step` of every picture takes: a picture's is the same in whatever batch. */
export function fillNoise(
  seed: number,
  indices: readonly number[],
  step: number,
  out: Float32Array,
  domain: number = domains.sampling,
): void {
  const size = out.length / indices.length
  for (let i = 0; i < indices.length; i++) {
    normals(seed, { domain, image: indices[i]!, step }, out, i * size, size)
  }
}

/** Puts the last to the front. */
function rotate(arrays: Float32Array[]): void {
  const last = arrays[arrays.length - 1]!
  for (let i = arrays.length - 1; i > 0; i--) arrays[i] = arrays[i - 1]!
  arrays[0] = last
}

/** Numbers per picture of the network's output. */
function strideOf(output: Float32Array, count: number, size: number, { d }: Row): number {
  const stride = output.length / count
  if (stride === 2 * size || (stride === size && typeof d === 'number')) return stride
  throw new UserError(
    `The network returned ${output.length} numbers for ${count} pictures of ${size}; expected ${size} each` +
      (typeof d === 'number'
        ? ', or twice as many where it says a variance.'
        : ' and as many of its variance.'),
  )
}

function readX0(
  { p, q }: Row,
  x: Float32Array,
  output: Float32Array,
  stride: number,
  size: number,
  x0: Float32Array,
): void {
  for (let start = 0, from = 0; start < x.length; start += size, from += stride) {
    for (let i = 0; i < size; i++) x0[start + i] = p * x[start + i]! + q * output[from + i]!
  }
}

function isThreshold(clamp: Clamp): boolean {
  return clamp !== null && typeof clamp !== 'number'
}

/** Clamps x_0 in place. */
function bound(clamp: Clamp, x0: Float32Array, size: number, scratch: Float32Array): void {
  if (clamp === null) return
  if (typeof clamp === 'number') {
    for (let i = 0; i < x0.length; i++) x0[i] = Math.min(Math.max(x0[i]!, -clamp), clamp)
    return
  }
  for (let start = 0; start < x0.length; start += size) {
    for (let i = 0; i < size; i++) scratch[i] = Math.abs(x0[start + i]!)
    const s = Math.min(Math.max(quantile(scratch, clamp.ratio), 1), clamp.max)
    for (let i = start; i < start + size; i++) x0[i] = Math.min(Math.max(x0[i]!, -s), s) / s
  }
}

/** The quantile between order statistics, linear, as NumPy and PyTorch have it; sorts the values in place. */
function quantile(values: Float32Array, ratio: number): number {
  values.sort()
  const place = ratio * (values.length - 1)
  const low = Math.min(Math.floor(place), values.length - 2)
  if (low < 0) return values[0]!
  return values[low]! + (place - low) * (values[low + 1]! - values[low]!)
}

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
      for (let i = start; i < end; i++) next[i]! += deviation(d, output[i + shift + size]!) * z[i]!
    } else if (d !== 0) {
      for (let i = start; i < end; i++) next[i]! += d * z[i]!
    }
  }
}

/** σ from log σ² = f·log β + (1−f)·log β̃ with f = (v+1)/2: Nichol & Dhariwal 2021, eq. 15. */
function deviation([small, large]: readonly [number, number], v: number): number {
  const f = (v + 1) / 2
  return Math.exp((f * large + (1 - f) * small) / 2)
}
