import { type Manifest, slerp, startNoise } from 'ddpm-sampler'
import type { Settings } from '../settings/settings.ts'
import { toImage } from '../ui/pixels.ts'

/** The latest start images. The page needs the same ones repeatedly. */
let cached: { readonly key: string; readonly images: readonly ImageData[] } | null = null

/** Returns each image before the first step: its noise, or the image that generation starts from. */
export function startImages(manifest: Manifest, settings: Settings): readonly ImageData[] {
  const { start, count } = settings
  if (start.kind === 'image') return Array.from({ length: count }, () => start.image)
  const key = cacheKey(manifest, settings)
  if (cached?.key !== key) {
    const images = Array.from({ length: count }, (_, i) => startImage(manifest, settings, i))
    cached = { key, images }
  }
  return cached.images
}

/** Computes the start images one by one, so that the main thread is never blocked for long. */
export async function prepareStartImages(manifest: Manifest, settings: Settings): Promise<void> {
  if (settings.start.kind === 'image') return
  const images: ImageData[] = []
  for (let i = 0; i < settings.count; i++) {
    images.push(startImage(manifest, settings, i))
    await new Promise((resolve) => setTimeout(resolve))
  }
  cached = { key: cacheKey(manifest, settings), images }
}

function cacheKey({ name, shape }: Manifest, { seed, count, start }: Settings): string {
  return JSON.stringify([name, shape, seed, count, start])
}

function startImage(manifest: Manifest, settings: Settings, index: number): ImageData {
  return toImage(noiseAt(manifest, settings, index), manifest.shape)
}

/** Returns the start noise of image `index`, [channels, height, width]. */
export function noiseAt(manifest: Manifest, { seed, count, start }: Settings, index: number): Float32Array {
  switch (start.kind) {
    case 'variation': {
      const noise = startNoise(manifest, seed, start.image)
      // The first image is the original, for comparison.
      if (index === 0) return noise
      return slerp(noise, startNoise(manifest, start.secondSeed, index), start.distance)
    }
    case 'interpolation': {
      const from = startNoise(manifest, seed, start.image)
      const to = startNoise(manifest, start.to.seed, start.to.image)
      return slerp(from, to, count === 1 ? 0 : index / (count - 1))
    }
    default:
      return startNoise(manifest, seed, index)
  }
}
