import { UserError } from '@ddpm/shared'
import {
  type ParsedShapes,
  parseShapes,
  type ShapeStatistics,
  shapeStatistics,
} from '../../evaluation/factors.ts'
import type { Extractor } from '../../evaluation/features/extractor.ts'
import { countImages, type EvaluationSet, type Images } from '../../evaluation/inputs/images.ts'
import {
  checkCounts,
  measureQuality,
  type QualityReport,
  saveReport,
  selectRealShapes,
} from '../../evaluation/quality.ts'
import { formatReport } from '../../evaluation/report.ts'
import { runLongTask } from '../terminal/long-task.ts'
import type { Options } from './options.ts'
import type { Inputs } from './samples.ts'

/** Default number of images to generate. */
const defaultCount = 2000

/** Computes the scores, prints them and writes the report. */
export async function score(inputs: Inputs, extractor: Extractor, options: Options): Promise<void> {
  const { set, folder, available } = inputs
  const { seed, nearest: neighbours, bootstrap: replicates } = options
  const count = options.count ?? available ?? defaultCount
  const reference = Math.min(options.reference, set.dataset.count)
  checkCounts(count, reference, neighbours)
  const samples = await inputs.samples(count)
  if (samples === null) return
  const { images, origin } = samples
  console.log(`Comparing ${count} ${samples.paths ? 'samples' : 'generated'} with ${reference} real images …`)
  const request = { origin, set, extractor, seed, reference, neighbours, replicates }
  const quality = await measureQuality(request, images)
  const report: QualityReport = {
    ...quality,
    ...(set.dataset.name === 'shapes' && { shapes: await compareShapes(images, set, seed) }),
  }
  const path = saveReport(folder, report)
  console.log(`${formatReport(report)}\nWrote the report to ${path}`)
}

async function compareShapes(generated: Images, set: EvaluationSet, seed: number): Promise<ShapeStatistics> {
  const parse = async (images: Images, kind: string): Promise<ParsedShapes> => {
    const { value } = await runLongTask(`Parsing ${kind} figures`, countImages(images), (report) =>
      parseShapes(images.pixels, async (done) => {
        if (await report(done))
          throw new UserError(
            'Stopped. The generated images are saved. Run the same command again to resume.',
          )
      }),
    )
    return value
  }
  const parsed = await parse(generated, 'generated')
  return shapeStatistics(await parse(selectRealShapes(set, seed), 'real'), parsed, seed)
}
