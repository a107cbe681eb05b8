import { applyGuidance } from '../diffusion/guidance.ts'
import type { Plan } from '../planning/plan.ts'
import { type Denoiser, runPlan, type SamplingRequest } from '../sampling/loop.ts'
import type { Network } from './model.ts'

/** Labels and guidance of a batch. */
export interface Conditioning {
  /** Number of classes. The label for "no class" has the same value. 0: the model has no label input. */
  readonly classes: number
  /** [count], the label of each image. */
  readonly labels: Float32Array
  /** Guidance scale, see `applyGuidance`. 0 runs only the unconditional forward pass, 1 only the conditional one. */
  readonly scale: number
  /** Guidance rescale φ, see `applyGuidance`. */
  readonly rescale: number
}

/** Runs a plan with one model, as `runPlan` does. Implementations store x on the CPU or on the GPU. */
export type SamplingLoop = (
  plan: Plan,
  conditioning: Conditioning,
  request: SamplingRequest,
) => Promise<Float32Array>

/** Returns the CPU loop for a model: `runPlan` with classifier-free guidance. */
export function createLoop(network: Network): SamplingLoop {
  return (plan, conditioning, request) =>
    runPlan(plan, createDenoiser(network, conditioning, request.size), request)
}

/** Applies labels and guidance to a model. A guidance scale other than 0 and 1 needs two forward passes per step. */
function createDenoiser(
  network: Network,
  { classes, labels, scale, rescale }: Conditioning,
  size: number,
): Denoiser {
  const count = labels.length
  const timestep = new Float32Array(count)
  const noClass = new Float32Array(count).fill(classes)
  return async (x, t) => {
    timestep.fill(t)
    if (classes === 0) return network(x, timestep, null)
    if (scale === 0) return network(x, timestep, noClass)
    const output = await network(x, timestep, labels)
    return scale === 1
      ? output
      : applyGuidance(output, await network(x, timestep, noClass), { count, size, scale, rescale })
  }
}
