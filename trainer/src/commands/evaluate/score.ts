import { UserError } from '@ddpm/shared'
import { type BuiltInSet, builtInSetOf } from '../../data/built-in.ts'
import {
  type ParsedImages,
  type ParsedStatistics,
  parsedStatistics,
  parseImages,
} from '../../evaluation/factors.ts'
import type { Extractor } from '../../evaluation/features/extractor.ts'
import { countImages, type Images } from '../../evaluation/inputs/images.ts'
import {
  checkCounts,
  measureQuality,
  type QualityReport,
  saveReport,
  selectRealImages,
} from '../../evaluation/quality.ts'
import { formatReport } from '../../evaluation/report.ts'
import { runLongTask } from '../terminal/long-task.ts'
import type { Options } from './options.ts'
import type { Inputs, Samples } from './samples.ts'

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
  const builtIn = builtInSetOf(set.source)
  console.log(`Comparing ${count} ${samples.paths ? 'samples' : 'generated'} with ${reference} real images …`)
  const request = { origin, set, extractor, seed, reference, neighbours, replicates }
  const quality = await measureQuality(request, images)
  const report: QualityReport = {
    ...quality,
    ...(builtIn && {
      parsed: {
        clean: builtIn.clean,
        ...(await compareFactors(builtIn, samples, selectRealImages(set, seed), seed)),
      },
    }),
  }
  const path = saveReport(folder, report)
  console.log(`${formatReport(report)}\nWrote the report to ${path}`)
}

async function compareFactors(
  builtIn: BuiltInSet,
  { images, classNames }: Samples,
  real: Images,
  seed: number,
): Promise<ParsedStatistics> {
  const parser = await builtIn.openParser()
  const parse = async (images: Images, kind: string): Promise<ParsedImages> => {
    const { value } = await runLongTask(`Parsing ${kind} images`, countImages(images), (report) =>
      parseImages(parser, images, async (done) => {
        if (await report(done))
          throw new UserError(
            'Stopped. The generated images are saved. Run the same command again to resume.',
          )
      }),
    )
    return value
  }
  const generated = await parse(images, 'generated')
  return parsedStatistics(await parse(real, 'real'), generated, classNames, seed)
}
