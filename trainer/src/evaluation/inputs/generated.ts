import { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { type GenerateOptions, generate, planFor, toBytes } from '@ddpm/shared'
import type { OpenedModel } from '../../inference/model.ts'
import { withWriteErrors } from '../../support/files.ts'
import { cacheKey } from './cache.ts'
import { countImages, type Images } from './images.ts'

/** Options of `generate` except the range of images to generate and the callbacks. */
export type SampleOptions = Omit<GenerateOptions, 'count' | 'first' | 'onStep' | 'signal'>

/**
 * Returns the first `count` samples of a model, sampler and seed as bytes. They are cached in a file whose name depends
 * on the weights and on the sampler's plan: samples in the file are read, the others are generated and appended.
 * @param onProgress receives the number of samples, with a fraction for those in progress; returns true to stop
 * @returns `count` samples, or fewer if stopped
 */
export async function sampleCached(
  folder: string,
  model: OpenedModel,
  options: SampleOptions,
  count: number,
  onProgress: (done: number) => Promise<boolean>,
): Promise<Images> {
  const { info, network } = model
  const { channels, height, width } = info.shape
  const size = channels * height * width
  const { seed, className = null, guidance = info.sampling.guidance, ...sampling } = options
  const plan = planFor(info, sampling)
  const key = cacheKey({ digest: model.digest, plan, seed, className, guidance })
  const path = join(folder, `samples-${key}.bytes`)
  withWriteErrors(path, 0, () => mkdirSync(folder, { recursive: true }))
  let done = existsSync(path) ? Math.floor(statSync(path).size / size) : 0
  // Removes the incomplete image that a killed process left at the end of the file.
  if (existsSync(path)) truncateSync(path, done * size)

  while (done < count) {
    const chunk = Math.min(chunkSize(plan.rows.length), count - done)
    const images = await generate(info, network, {
      ...options,
      first: done,
      count: chunk,
      async onStep({ step, steps }) {
        await onProgress(done + (chunk * step) / steps)
      },
    })
    const bytes = Uint8Array.from(toBytes(images))
    withWriteErrors(path, bytes.length, () => appendFileSync(path, bytes))
    done += chunk
    if (await onProgress(done)) break
  }
  return { channels, height, width, pixels: readFileSync(path).subarray(0, Math.min(done, count) * size) }
}

/** Returns the number of samples to generate between two saves. It is lower if a sample needs many steps. */
function chunkSize(steps: number): number {
  return Math.min(64, Math.max(16, Math.floor(6400 / steps)))
}

/** Returns the message for a generation that stopped early; '' if there are `count` images. */
export function describeStop(images: Images, count: number): string {
  const done = countImages(images)
  return done === count
    ? ''
    : `Stopped after ${done} of ${count} images, which are saved. Run the same command again to resume.`
}
