import { generateWith, type Loop, type Manifest, toRgba } from '@ddpm/shared'
import { createClock } from '../base/clock.ts'
import type { SampleTask, Step } from '../base/protocol.ts'

/** Previews that nobody set a rhythm for come at most this often, in milliseconds. */
const previewInterval = 50

/**
 * Draws pictures and tells of every step.
 * @param tell is waited for before the next step
 * @returns [count, channels, height, width], about [−1, 1]
 * @throws UserError for impossible options; the signal's reason
 */
export function runSampleTask(
  manifest: Manifest,
  loop: Loop,
  { options, previewEvery }: SampleTask,
  tell: (step: Step) => void | Promise<void>,
  signal: AbortSignal,
): Promise<Float32Array> {
  const secondsLeft = createClock()
  let latest = Number.NEGATIVE_INFINITY
  const isDue = (step: number, steps: number) => {
    if (previewEvery !== 'auto')
      return previewEvery > 0 && ((step + 1) % previewEvery === 0 || step === steps - 1)
    if (performance.now() - latest < previewInterval) return false
    latest = performance.now()
    return true
  }
  return generateWith(manifest, loop, {
    ...options,
    signal,
    isDue,
    onStep: ({ step, steps, t, x, x0 }) =>
      tell({
        step,
        steps,
        t,
        secondsLeft: secondsLeft(step + 1, steps),
        preview:
          x.length === 0
            ? null
            : { x: rgbaOf(x, options.count, manifest), x0: rgbaOf(x0, options.count, manifest) },
      }),
  })
}

function rgbaOf(values: Float32Array, count: number, { shape }: Manifest): Uint8ClampedArray<ArrayBuffer> {
  const size = shape.height * shape.width * 4
  const all = new Uint8ClampedArray(count * size)
  for (let i = 0; i < count; i++) toRgba(values, i, shape, all.subarray(i * size, (i + 1) * size))
  return all
}
