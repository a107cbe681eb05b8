import { domains, normals } from './random.ts'
import type { Plan } from './samplers.ts'

/** ε_θ (or x_0, or v): [count, …] in, the same shape out. All pictures of a batch are at the same timestep. */
export type Denoiser = (x: Float32Array, t: number) => Float32Array | Promise<Float32Array>

export interface SamplingStep {
  /** Index of the row just done and number of rows. */
  readonly step: number
  readonly steps: number
  readonly t: number
  /** x after the step, and the x_0 it was made from: [count, size]. Valid until the next step. */
  readonly x: Float32Array
  readonly x0: Float32Array
}

export interface SamplingRequest {
  readonly seed: number
  /** Indices of the pictures of this seed to draw; a picture is the same in whatever batch it is drawn. */
  readonly pictures: readonly number[]
  /** Numbers per picture: channels · height · width. */
  readonly size: number
  readonly onStep?: (step: SamplingStep) => void | Promise<void>
  readonly signal?: AbortSignal
}

/**
 * Runs a plan from pure noise to pictures: the one sampling loop.
 * @returns [pictures.length, size], about [−1, 1]
 * @throws the signal's reason when aborted
 */
export async function runPlan(
  plan: Plan,
  denoise: Denoiser,
  request: SamplingRequest,
): Promise<Float32Array> {
  const { seed, pictures, size } = request
  const draw = (out: Float32Array, step: number) => {
    for (const [i, picture] of pictures.entries()) {
      normals(seed, { domain: domains.sampling, picture, step }, out, i * size, size)
    }
  }

  const length = pictures.length * size
  let x = new Float32Array(length)
  draw(x, 0)
  const z = new Float32Array(length)
  /** The x_0 of earlier steps, latest first. */
  const history: Float32Array[] = []
  const depth = Math.max(0, ...plan.rows.map((row) => row.c.length))

  for (const [index, row] of plan.rows.entries()) {
    request.signal?.throwIfAborted()
    const output = await denoise(x, row.t)
    request.signal?.throwIfAborted()
    if (row.d !== 0) draw(z, index + 1)

    const { p, q, a, b, c, d, e } = row
    const bound = row.clamp ?? Number.POSITIVE_INFINITY
    const x0 = new Float32Array(length)
    const next = new Float32Array(length)
    for (let i = 0; i < length; i++) {
      const clean = Math.min(Math.max(p * x[i]! + q * output[i]!, -bound), bound)
      x0[i] = clean
      let sum = a * x[i]! + b * clean + e * output[i]! + d * z[i]!
      for (let k = 0; k < c.length; k++) sum += c[k]! * history[k]![i]!
      next[i] = sum
    }
    history.unshift(x0)
    history.length = Math.min(history.length, depth)
    x = next
    await request.onStep?.({ step: index, steps: plan.rows.length, t: row.t, x, x0 })
  }
  return x
}

/**
 * Classifier-free guidance (Ho & Salimans 2022): unconditional + scale·(conditional − unconditional).
 * @param conditional, unconditional the network's outputs with the class and without; `conditional` is overwritten
 */
export function guide(conditional: Float32Array, unconditional: Float32Array, scale: number): Float32Array {
  for (let i = 0; i < conditional.length; i++) {
    conditional[i] = unconditional[i]! + scale * (conditional[i]! - unconditional[i]!)
  }
  return conditional
}
