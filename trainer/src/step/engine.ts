import type { OptimizerState, StepScalars } from './optimizer.ts'

export const engineNames = ['onnxruntime', 'tfjs'] as const
export type EngineName = (typeof engineNames)[number]

/** Compute devices. `webgpu` is any graphics card (through Vulkan, Metal or Direct3D 12). `cuda` is an NVIDIA card. */
export const devices = ['cpu', 'webgpu', 'cuda'] as const
export type Device = (typeof devices)[number]

/** An engine on a device. */
export interface Candidate {
  readonly engine: EngineName
  readonly device: Device
}

/** Parameters, Adam's moments and the exponential moving average (EMA): flat float32 vectors [P]. */
export type TrainingState = OptimizerState<Float32Array>

/** Returns the state before the first step: the weights `parameters`, zero moments, and an EMA equal to the weights. */
export function initialState(parameters: Float32Array): TrainingState {
  return {
    parameters,
    firstMoment: new Float32Array(parameters.length),
    secondMoment: new Float32Array(parameters.length),
    ema: parameters.slice(),
  }
}

/**
 * Inputs of one training step. All random numbers are part of the batch, so that every engine computes the same step.
 */
export interface Batch {
  /** Images [N, C, H, W]. */
  readonly x0: Float32Array
  /** Standard normal noise [N, C, H, W]. */
  readonly noise: Float32Array
  /** Timesteps [N], 0 to T−1. */
  readonly timestep: Float32Array
  /** Class labels [N], or null if the network has no classes. */
  readonly label: Float32Array | null
  /** Coefficients of the training objective [N, 5], in the order of `coefficientNames`. */
  readonly coefficients: Float32Array
  /** Dropout masks of all blocks [N, size of `dropoutLayout`], 0 or 1/(1 − p); null without dropout. */
  readonly dropout: Float32Array | null
}

export interface StepResult {
  readonly loss: number
  /** Norm of the gradient before clipping. */
  readonly gradientNorm: number
  /** False if the loss or the gradient was not finite. The state is then the same as before the step. */
  readonly finite: boolean
}

/** Trains one network. All engines compute the same equations in float32. */
export interface Engine {
  readonly description: string
  /**
   * Runs one optimizer step on the mean gradient of the micro-batches and returns their mean loss.
   * @param batches `StepSpec.accumulate` micro-batches of equal size
   */
  step(batches: readonly Batch[], scalars: StepScalars<number>): Promise<StepResult>
  /** Returns the network's output [N, C, H, W] for x [N, C, H, W], timestep [N] and label [N]. */
  predict(
    weights: 'raw' | 'ema',
    x: Float32Array,
    timestep: Float32Array,
    label: Float32Array | null,
  ): Promise<Float32Array>
  /** Returns the current state. It is valid until the next step. */
  state(): Promise<TrainingState>
  dispose(): Promise<void>
}
