import { classOf, type Manifest, type SampleOptions } from 'ddpm-sampler'
import { type Settings, samplerOptions } from '../settings/settings.ts'
import { noiseAt } from './start-images.ts'

/**
 * Converts settings to options of `model.sample`. The result has one element, or two for an interpolation between
 * images of different classes: the class cannot be interpolated, so it changes in the middle.
 */
export function sampleOptions(manifest: Manifest, settings: Settings): SampleOptions[] {
  const { seed, count, guidance, guidanceRescale, start } = settings
  const base = { seed, count, class: settings.class, guidance, guidanceRescale, ...samplerOptions(settings) }
  switch (start.kind) {
    case 'noise':
      return [base]
    case 'variation': {
      const noise = noises(manifest, settings, 0, count)
      return [{ ...base, class: classAt(manifest, settings, seed, start.image), noise }]
    }
    case 'interpolation': {
      const classes = [
        classAt(manifest, settings, seed, start.image),
        classAt(manifest, settings, start.to.seed, start.to.image),
      ]
      const half = classes[0] === classes[1] || count === 1 ? count : Math.ceil(count / 2)
      const counts = half === count ? [count] : [half, count - half]
      return counts.map((partCount, i) => ({
        ...base,
        first: i * half,
        count: partCount,
        class: classes[i]!,
        noise: noises(manifest, settings, i * half, partCount),
      }))
    }
    case 'image': {
      const { image, strength, mask } = start
      // Without a chosen class, guidance would steer towards a random class, which may not match the image.
      const imageGuidance = settings.class === null ? 0 : guidance
      return [{ ...base, guidance: imageGuidance, init: image, strength, ...(mask && { mask }) }]
    }
  }
}

/** Returns the class of an image of a seed; null if the model has no classes. */
function classAt(manifest: Manifest, settings: Settings, seed: number, image: number): string | null {
  return classOf(manifest, { seed, image, name: settings.class })
}

/** Returns the start noises of `count` images from `first`, [count, channels, height, width]. */
function noises(manifest: Manifest, settings: Settings, first: number, count: number): Float32Array {
  const { channels, height, width } = manifest.shape
  const size = channels * height * width
  const all = new Float32Array(count * size)
  for (let i = 0; i < count; i++) all.set(noiseAt(manifest, settings, first + i), i * size)
  return all
}
