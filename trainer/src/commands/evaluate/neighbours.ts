import { join } from 'node:path'
import { domains, randomPermutation, UserError } from '@ddpm/shared'
import type { Extractor } from '../../evaluation/features/extractor.ts'
import { type EvaluationSet, type Images, pickImages } from '../../evaluation/inputs/images.ts'
import { blocksOf, nearestRows } from '../../evaluation/metrics/neighbours.ts'
import { copyRatio, findNearest, isCopy, type NearestImage, neighbourhood } from '../../evaluation/nearest.ts'
import { neighboursPng } from '../../evaluation/neighbours-image.ts'
import { writeAtomically } from '../../support/files.ts'
import { runLongTask } from '../terminal/long-task.ts'
import type { Inputs } from './samples.ts'

/** Default number of images to generate. */
const defaultCount = 16
/** Max number of samples in the PNG, and of copies that are listed: those with the smallest ratio. */
const [maxShown, maxListed] = [64, 20]
/** Max number of real images that show how close images are without copying. */
const maxHeldOut = 1000

/** Finds the nearest real image of each sample, counts copies, and writes a PNG and all distances. */
export async function showNeighbours(
  inputs: Inputs,
  extractor: Extractor,
  requested: number | true,
): Promise<void> {
  const { set, folder, available } = inputs
  if (set.dataset.count < 2)
    throw new UserError(`Too few real images in ${set.source}: expected at least 2, got 1. Add images.`)
  const samples = await inputs.samples(requested === true ? (available ?? defaultCount) : requested)
  if (samples === null) return
  const { images, paths } = samples
  const nearest = await search('Searching, %', images, set.dataset)
  const order = nearest.map((_, i) => i).sort((a, b) => nearest[a]!.ratio - nearest[b]!.ratio)
  const copies = order.filter((i) => isCopy(nearest[i]!))
  const heldOut = await searchHeldOut(set)

  const shown = order.slice(0, maxShown)
  const features = await nearestRows(
    await extractor.extract(pickImages(images, shown)),
    blocksOf(await extractor.extract(set.dataset)),
    1,
  )
  const columns = shown.map((sample, i) => ({
    sample,
    byPixels: nearest[sample]!.index,
    byFeatures: features[i]![0]!.index,
    marked: isCopy(nearest[sample]!),
  }))
  const [png, json] = [join(folder, 'neighbours.png'), join(folder, 'neighbours.json')]
  writeAtomically(png, await neighboursPng(images, set.dataset, columns))
  const rows = nearest.map((found, i) => ({ sample: paths?.[i] ?? i, ...found, copy: isCopy(found) }))
  const { source, split } = set
  writeAtomically(json, `${JSON.stringify({ source, split, copyRatio, neighbourhood, samples: rows })}\n`)

  const lines = copies.slice(0, maxListed).map((i) => {
    const { index, distance, ratio } = nearest[i]!
    return `  ${paths?.[i] ?? `sample ${i}`}: real image ${index}, distance ${distance.toFixed(3)}, ratio ${ratio.toFixed(3)}`
  })
  console.log(
    [
      `Memorised: ${copies.length} of ${nearest.length} samples are copies of one of the ${set.dataset.count} images of ${source} (${split}).`,
      ...lines,
      ...(copies.length > maxListed ? [`  and ${copies.length - maxListed} more`] : []),
      `For comparison, ${describe(heldOut)}`,
      `A copy has less than ${copyRatio} times the mean distance to its ${neighbourhood} nearest images. Mirrored copies count.`,
      `Wrote ${png}: the ${shown.length} samples with the smallest ratio, their nearest images by pixels, and those by features of ` +
        `${extractor.description}. Copies have a red frame.`,
      `Wrote the distances of all samples to ${json}`,
    ].join('\n'),
  )
}

async function search(
  label: string,
  images: Images,
  real: Images,
  self?: ArrayLike<number>,
): Promise<NearestImage[]> {
  const { value } = await runLongTask(label, 100, (report) =>
    findNearest(
      images,
      real,
      async (fraction) => {
        if (await report(100 * fraction)) throw new UserError('Stopped. Nothing was written.')
      },
      self,
    ),
  )
  return value
}

interface HeldOut {
  readonly nearest: readonly NearestImage[]
  readonly name: string
}

/**
 * Searches the neighbours of real images that no model generated: validation images, or else real images among the others.
 */
async function searchHeldOut({ dataset, heldOut }: EvaluationSet): Promise<HeldOut> {
  const label = 'Searching for comparison, %'
  const from = heldOut ?? dataset
  const place = { domain: domains.selection, image: 2, step: 0 }
  const chosen = randomPermutation(0, place, from.count).subarray(0, maxHeldOut)
  return heldOut
    ? { nearest: await search(label, pickImages(from, chosen), dataset), name: 'validation images' }
    : {
        nearest: await search(label, pickImages(from, chosen), dataset, chosen),
        name: 'of the real images, compared with all others,',
      }
}

function describe({ nearest, name }: HeldOut): string {
  const copies = nearest.filter(isCopy).length
  const ratios = nearest.map(({ ratio }) => ratio).sort((a, b) => a - b)
  const median = ratios[Math.floor(ratios.length / 2)]!
  return `${copies} of ${nearest.length} ${name} are as close (median ratio ${median.toFixed(3)}).`
}
