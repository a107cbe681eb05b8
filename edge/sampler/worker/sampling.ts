import { generateWith, type Manifest, type SamplingLoop, toRgba } from '@ddpm/shared'
import type { PreviewEvery, SampleTask, Step } from '../base/protocol.ts'
import { createTimeEstimate } from '../base/time-estimate.ts'

/** Min time between two automatic previews, in milliseconds. */
const previewInterval = 50

/**
 * Generates images and reports every step.
 * @param report is awaited before the next step
 * @returns [count, channels, height, width], approximately in [−1, 1]
 * @param isSuspended returns whether to stop before the next step
 * @throws UserError for invalid options; the signal's reason when aborted; Suspension
 */
export function runSampleTask(
  manifest: Manifest,
  loop: SamplingLoop,
  { options, previewEvery, resume }: SampleTask,
  report: (step: Step) => void | Promise<void>,
  signal: AbortSignal,
  isSuspended: () => boolean = () => false,
): Promise<Float32Array> {
  const secondsLeft = createTimeEstimate()
  return generateWith(manifest, loop, {
    ...options,
    signal,
    isSuspended,
    ...(resume && { resume }),
    isDue: createPreviewRule(previewEvery),
    onStep: ({ step, steps, t, x, x0 }) =>
      report({
        step,
        steps,
        t,
        secondsLeft: secondsLeft(step + 1, steps),
        preview:
          x.length === 0
            ? null
            : { x: encodeRgba(x, options.count, manifest), x0: encodeRgba(x0, options.count, manifest) },
      }),
  })
}

/** Returns a function that decides whether a step has a preview. */
function createPreviewRule(previewEvery: PreviewEvery): (step: number, steps: number) => boolean {
  if (previewEvery !== 'auto') {
    return (step, steps) => previewEvery > 0 && ((step + 1) % previewEvery === 0 || step === steps - 1)
  }
  let latest = Number.NEGATIVE_INFINITY
  return () => {
    if (performance.now() - latest < previewInterval) return false
    latest = performance.now()
    return true
  }
}

/** Converts values [count, channels, height, width] to RGBA [count, height, width, 4]. */
function encodeRgba(
  values: Float32Array,
  count: number,
  { shape }: Manifest,
): Uint8ClampedArray<ArrayBuffer> {
  const size = shape.height * shape.width * 4
  const rgba = new Uint8ClampedArray(count * size)
  for (let i = 0; i < count; i++) toRgba(values, i, shape, rgba.subarray(i * size, (i + 1) * size))
  return rgba
}
