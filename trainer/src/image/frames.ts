import type { ModelInfo, SamplingStep } from '@ddpm/shared'

/** At most so many frames: a longer denoising is shown in leaps. */
const mostFrames = 60

/**
 * Keeps what pictures look like on their way, for an animation.
 * @param count of the pictures, which may come in chunks
 */
export function frameRecorder(
  { shape }: Pick<ModelInfo, 'shape'>,
  count: number,
): {
  /** [count, channels, height, width] each, the last one finished. */
  readonly frames: readonly Float32Array[]
  /** @param first index of the first picture of the step's chunk */
  record(step: Pick<SamplingStep, 'step' | 'steps' | 'x'>, first: number): void
} {
  const size = shape.channels * shape.height * shape.width
  const frames: Float32Array[] = []
  return {
    frames,
    record({ step, steps, x }, first) {
      const leap = Math.ceil(steps / mostFrames)
      const toEnd = steps - 1 - step
      if (toEnd % leap !== 0) return
      const index = Math.floor((steps - 1) / leap) - toEnd / leap
      frames[index] ??= new Float32Array(count * size)
      frames[index].set(x, first * size)
    },
  }
}
