import { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { type GenerateOptions, generate, planFor, toBytes } from '@ddpm/shared'
import type { OpenedModel } from '../export/inference.ts'
import { changing } from '../support/files.ts'
import { keyOf } from './cache.ts'

/** How pictures are drawn: what `generate` takes, but for which of them. */
export type SampleOptions = Omit<GenerateOptions, 'count' | 'first' | 'onStep' | 'signal'>

/** Pictures that are drawn and put on the disk at a time: fewer where each takes many evaluations of the network. */
function chunkOf(steps: number): number {
  return Math.min(64, Math.max(16, Math.floor(6400 / steps)))
}

/**
 * The first `count` pictures of a model, sampler and seed as bytes, as they would be saved. They are kept in a file whose
 * name depends on the weights and on the sampler's table: what it holds is read, the rest is drawn and added.
 * @param onProgress how many there are, the evaluations of those in hand as a part of one; returns true to stop
 * @returns [count, channels, height, width], or fewer where it was stopped
 */
export async function sampleCached(
  folder: string,
  model: OpenedModel,
  options: SampleOptions,
  count: number,
  onProgress: (done: number) => Promise<boolean>,
): Promise<Uint8Array> {
  const { channels, height, width } = model.facts.shape
  const size = channels * height * width
  const { seed, className = null, guidance = model.facts.sampling.guidance, ...sampling } = options
  const plan = planFor(model.facts, sampling)
  const key = keyOf({ digest: model.digest, plan, seed, className, guidance })
  const path = join(folder, `drawn-${key}.bytes`)
  changing(path, 0, () => mkdirSync(folder, { recursive: true }))
  let done = existsSync(path) ? Math.floor(statSync(path).size / size) : 0
  // What a killed process left of a picture.
  if (existsSync(path)) truncateSync(path, done * size)

  while (done < count) {
    const some = Math.min(chunkOf(plan.rows.length), count - done)
    const images = await generate(model.facts, model.network, {
      ...options,
      first: done,
      count: some,
      async onStep({ step, steps }) {
        await onProgress(done + (some * step) / steps)
      },
    })
    const bytes = Uint8Array.from(toBytes(images))
    changing(path, bytes.length, () => appendFileSync(path, bytes))
    done += some
    if (await onProgress(done)) break
  }
  return readFileSync(path).subarray(0, Math.min(done, count) * size)
}
