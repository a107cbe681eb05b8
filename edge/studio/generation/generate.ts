import type { Model, SampleStep } from 'ddpm-sampler'
import type { Settings } from '../settings/settings.ts'
import { createFrameBuffer, type Frame, mergeFrames } from './frames.ts'
import { sampleOptions } from './sample-options.ts'
import { startImages } from './start-images.ts'

/** The result of one generation, with the settings and the frames that led to it. */
export interface Generation {
  readonly settings: Settings
  readonly images: readonly ImageData[]
  readonly frames: readonly Frame[]
}

export interface Progress {
  /** Steps done, and the total of all parts. */
  readonly step: number
  readonly steps: number
  /** null if unknown. */
  readonly secondsLeft: number | null
  /** All images at this step; null if the step has no preview. */
  readonly frame: Frame | null
}

/** Generates images. Resolves with the images and their frames. */
export async function generateImages(
  model: Model,
  settings: Settings,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: Progress) => void },
): Promise<Generation> {
  const { manifest } = model
  const { steps } = settings
  const parts = sampleOptions(manifest, settings)
  const start = startImages(manifest, settings)
  const framesOfParts: Frame[][] = []
  const images: ImageData[] = []
  for (const [index, part] of parts.entries()) {
    const buffer = createFrameBuffer()
    const first = images.length
    const end = first + part.count!
    buffer.add({ step: 0, steps, t: null, x: start.slice(first, end), x0: null })
    /** Completes the images of this part with those of finished parts and the start of later parts. */
    const withOtherParts = (own: readonly ImageData[]) => [...images, ...own, ...start.slice(end)]
    const onStep = ({ step, t, x, x0, secondsLeft }: SampleStep) => {
      const frame: Frame | null = x && { step: step + 1, steps, t, x, x0 }
      if (frame) buffer.add(frame)
      onProgress({
        step: index * steps + step + 1,
        steps: steps * parts.length,
        secondsLeft: parts.length === 1 ? secondsLeft : null,
        frame: frame && { ...frame, x: withOtherParts(frame.x), x0: x0 && withOtherParts(x0) },
      })
    }
    const samples = await model.sample({ ...part, previewEvery: previewInterval(settings), onStep, signal })
    images.push(...samples.map(({ pixels }) => pixels))
    framesOfParts.push([...buffer.frames])
  }
  const frames = framesOfParts.length === 1 ? framesOfParts[0]! : mergeFrames(framesOfParts)
  return { settings, images, frames }
}

/** Approximate number of frames of the timeline. */
const targetFrames = 60

/** Returns the number of steps between two previews. More previews would slow down fast devices without any benefit. */
function previewInterval({ steps }: Settings): number {
  return Math.max(1, Math.round(steps / targetFrames))
}
