import type { ModelInfo, SamplingStep } from '@ddpm/shared'

/** Max number of frames. If there are more steps, only every n-th step is recorded. */
const maxFrames = 60

/**
 * Records intermediate samples for an animation.
 * @param count number of samples, which may be generated in chunks
 */
export function createFrameRecorder(
  { shape }: Pick<ModelInfo, 'shape'>,
  count: number,
): {
  /** [count, channels, height, width] each. The last frame shows the finished samples. */
  readonly frames: readonly Float32Array[]
  /** @param first index of the first sample of the chunk */
  record(step: Pick<SamplingStep, 'step' | 'steps' | 'x'>, first: number): void
} {
  const size = shape.channels * shape.height * shape.width
  const frames: Float32Array[] = []
  return {
    frames,
    record({ step, steps, x }, first) {
      const stride = Math.ceil(steps / maxFrames)
      const stepsLeft = steps - 1 - step
      if (stepsLeft % stride !== 0) return
      const index = Math.floor((steps - 1) / stride) - stepsLeft / stride
      frames[index] ??= new Float32Array(count * size)
      frames[index].set(x, first * size)
    },
  }
}
