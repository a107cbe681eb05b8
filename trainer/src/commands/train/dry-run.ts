import { domains, randomPermutation } from '@ddpm/shared'
import { type Dataset, describeSplit, toSigned } from '../../data/dataset/dataset.ts'
import { gather } from '../../data/dataset/gather.ts'
import { gridPng } from '../../image/grid.ts'
import { networkOf } from '../../run/run.ts'
import { writeAtomically } from '../../support/files.ts'
import { describeCost, describeForecast } from '../../training/estimate.ts'
import { train } from '../../training/loop.ts'
import type { Options } from './options.ts'
import type { PreparedRun } from './prepared-run.ts'
import { openEngineOf } from './run.ts'

/** File of the contact sheet if `--dry-run` has no value. */
const defaultSheet = 'contact-sheet.png'
/** Max number of images on the contact sheet. */
const sheetCount = 100
/** Number of training steps to measure. The first one is slower and does not affect the median. */
const measuredSteps = 3

/** Prints what a run would train on and cost, and writes a contact sheet of the images at the training size. Trains nothing. */
export async function dryRun(prepared: PreparedRun, options: Options): Promise<void> {
  const { config, images } = prepared
  const { recipe, dataset } = config
  console.log(
    `Images of ${dataset.name} at ${dataset.width}×${dataset.height}, ${dataset.channels === 1 ? 'grey' : 'RGB'}: ` +
      describeSplit(dataset.count, recipe.validation),
  )
  for (const line of countClasses(images.train, images.validation)) console.log(line)
  const path = typeof options.dryRun === 'string' ? options.dryRun : defaultSheet
  console.log(`Contact sheet of ${await writeSheet(path, images.train)} images: ${path}`)

  const { spec, cost, engine } = await openEngineOf(prepared, options)
  console.log(`${cost.parameters.toLocaleString('en')} parameters, ${engine.description}`)
  console.log(describeCost(cost))
  const milliseconds: number[] = []
  let start = performance.now()
  try {
    const few = { ...recipe, steps: Math.min(measuredSteps, recipe.steps) }
    await train(engine, images.train, networkOf(config).unet, few, {
      from: 0,
      onStep() {
        milliseconds.push(performance.now() - start)
        start = performance.now()
        return false
      },
    })
  } finally {
    await engine.dispose()
  }
  console.log(describeForecast(cost, milliseconds, recipe.steps))
  console.log(
    `The run would see every training image ${Math.round((recipe.steps * spec.batch * recipe.accumulate) / images.train.count)} ` +
      'times. Nothing was trained. Run the same command without --dry-run to train.',
  )
}

/** Returns a line per class with its number of images. */
function countClasses(train: Dataset, validation: Dataset): string[] {
  const { classes } = train
  const counts = new Uint32Array(classes.length)
  for (const label of [...(train.labels ?? []), ...(validation.labels ?? [])]) counts[label]! += 1
  const width = Math.max(0, ...classes.map((name) => name.length))
  return classes.map((name, label) => `  ${name.padEnd(width)}  ${counts[label]!.toLocaleString('en')}`)
}

/** Writes random images as a grid and returns their number. */
async function writeSheet(path: string, dataset: Dataset): Promise<number> {
  const count = Math.min(sheetCount, dataset.count)
  const order = randomPermutation(0, { domain: domains.selection, image: 0, step: 0 }, dataset.count)
  const { pixels, ...shape } = await gather(dataset, order.subarray(0, count).toSorted())
  writeAtomically(path, await gridPng(Float32Array.from(pixels, toSigned), shape, { scale: 1 }))
  return count
}
