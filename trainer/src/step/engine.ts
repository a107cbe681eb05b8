import type { OptimizerState } from './optimizer.ts'

export const engineNames = ['onnxruntime', 'tfjs'] as const
export type EngineName = (typeof engineNames)[number]

/** Where an engine computes; `webgpu` is any graphics card (Vulkan, Metal or Direct3D 12), `cuda` one of NVIDIA's. */
export const devices = ['cpu', 'webgpu', 'cuda'] as const
export type Device = (typeof devices)[number]

/** An engine on a device. */
export interface Candidate {
  readonly engine: EngineName
  readonly device: Device
}

/** Parameters, Adam's moments and the moving average: flat vectors [P], float32. */
export type TrainingState = OptimizerState<Float32Array>

/** Returns the state before the first step: the given weights and zero moments; the average starts at the weights. */
export function initialState(parameters: Float32Array): TrainingState {
  return {
    parameters,
    firstMoment: new Float32Array(parameters.length),
    secondMoment: new Float32Array(parameters.length),
    ema: parameters.slice(),
  }
}

/** What one training step is fed; everything random in it was drawn before. */
export interface Batch {
  /** Pictures and standard normal noise: [N, C, H, W]. */
  readonly x0: Float32Array
  readonly noise: Float32Array
  /** [N], 0 … T−1 */
  readonly timestep: Float32Array
  /** [N], or null where the network has no classes. */
  readonly label: Float32Array | null
  /** [N, 5]: see coefficientNames. */
  readonly coefficients: Float32Array
  /** [N, masks of all blocks], 0 or 1/(1 − p), see dropoutLayout; null without dropout. */
  readonly dropout: Float32Array | null
}

export interface StepResult {
  readonly loss: number
  /** Before clipping. */
  readonly gradientNorm: number
  /** False where the loss or the gradient was not finite; the state is then as before the step. */
  readonly finite: boolean
}

/** Something that can train one network: every engine does the same arithmetic. */
export interface Engine {
  readonly description: string
  /**
   * One step of the optimizer, on the mean of the gradients of its micro-batches; the reported loss is their mean too.
   * @param batches `accumulate` of them (see StepSpec), all of the same size
   * @param scalars in the order of stepScalarNames
   */
  step(batches: readonly Batch[], scalars: Float32Array): Promise<StepResult>
  /** The network's output for x [N, C, H, W], timestep [N] and label [N]. */
  predict(
    weights: 'raw' | 'ema',
    x: Float32Array,
    timestep: Float32Array,
    label: Float32Array | null,
  ): Promise<Float32Array>
  /** The state as it is now; valid until the next step. */
  state(): Promise<TrainingState>
  dispose(): Promise<void>
}
