import type { Ops } from '../algebra/ops.ts'
import type { UNetConfig } from '../network/config.ts'
import type { Parameters } from '../network/layers.ts'
import { dropoutLayout, type UNetInputs, unet } from '../network/unet.ts'
import { variationalTerm } from './variational.ts'

/**
 * Coefficients of the training objective for each image: x_t = signal·x0 + noise·ε, the target is
 * targetSignal·x0 + targetNoise·ε, and `weight` multiplies the squared error.
 */
export const coefficientNames = ['signal', 'noise', 'targetSignal', 'targetNoise', 'weight'] as const

/** A training batch, as tensors of any interpreter. */
export interface DenoisingInputs<T> {
  /** [N, C, H, W] */
  readonly x0: T
  /** [N, C, H, W] */
  readonly noise: T
  /** [N] */
  readonly timestep: T
  /** [N]; null if the network has no classes. */
  readonly label: T | null
  /** [N, 5], in the order of `coefficientNames`. */
  readonly coefficients: T
  /** Dropout masks of all blocks [N, size of `dropoutLayout`]; null without dropout. */
  readonly dropout: T | null
}

/** Weight of L_vlb in L_hybrid (Improved DDPM, section 3.1). */
const variationalWeight = 0.001

/**
 * Computes the loss [1] of a batch: L_simple (DDPM eq. 14) if all weights are 1.
 *
 * A network that learns variances uses L_hybrid = L_simple + 0.001·L_vlb (Improved DDPM eq. 16). L_vlb is T times the
 * mean of its terms, in bits per dimension.
 * @param options.variational table of the schedule (variational.ts), if the network learns variances
 */
export function denoisingLoss<T>(
  ops: Ops<T>,
  { unet: config, variational }: { readonly unet: UNetConfig; readonly variational?: Float32Array },
  parameters: Parameters<T>,
  { x0, noise, timestep, label, coefficients, dropout }: DenoisingInputs<T>,
): T {
  const shape = ops.shape(x0) as readonly number[]
  const coefficient = (name: (typeof coefficientNames)[number]) => {
    const column = coefficientNames.indexOf(name)
    return ops.reshape(ops.slice(coefficients, { axis: 1, start: column, end: column + 1 }), [
      shape[0]!,
      1,
      1,
      1,
    ])
  }
  const mix = (a: T, b: T) => ops.add(ops.mul(x0, a), ops.mul(noise, b))

  const output = unet(ops, config, parameters, {
    x: mix(coefficient('signal'), coefficient('noise')),
    timestep,
    label,
    dropoutMask: dropout === null ? () => null : dropoutMasks(ops, config, { masks: dropout, image: shape }),
  })
  // With learned variances, the first half of the output channels is the prediction. The second half interpolates the
  // variances.
  const half = (start: number) => ops.slice(output, { axis: 1, start, end: start + config.inputChannels })
  const prediction = variational === undefined ? output : half(0)
  const error = ops.sub(prediction, mix(coefficient('targetSignal'), coefficient('targetNoise')))
  const squares = ops.reduceSum(ops.mul(error, error), [1, 2, 3])
  const total = ops.reduceSum(ops.mul(squares, coefficient('weight')), [0])
  const elements = shape.reduce((a, b) => a * b, 1)
  const simple = ops.reshape(ops.scale(total, 1 / elements), [1])
  if (variational === undefined) return simple
  const varianceInterpolation = half(config.inputChannels)
  const terms = variationalTerm(ops, variational, {
    timestep,
    x0,
    error,
    varianceInterpolation: varianceInterpolation,
  })
  const bound = ops.scale(ops.reduceSum(terms, [0]), config.timesteps / shape[0]!)
  return ops.add(simple, ops.reshape(ops.scale(bound, variationalWeight), [1]))
}

/** Returns the mask of each block as a slice of one tensor [N, size of `dropoutLayout`]. */
function dropoutMasks<T>(
  ops: Ops<T>,
  config: UNetConfig,
  { masks, image: [n, , height, width] }: { masks: T; image: readonly number[] },
): UNetInputs<T>['dropoutMask'] {
  const { blocks } = dropoutLayout(config, { height: height!, width: width! })
  return (block, shape) => {
    const { start, end } = blocks.get(block)!
    return ops.reshape(ops.slice(masks, { axis: 1, start, end }), [n!, ...shape])
  }
}
