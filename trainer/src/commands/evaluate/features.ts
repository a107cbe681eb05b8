import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { classifierFolder, openDefaultExtractor, openFeatureData } from '../../evaluation/features/default.ts'
import type { Extractor } from '../../evaluation/features/extractor.ts'
import { openOnnxExtractor } from '../../evaluation/features/onnx-extractor.ts'
import { runLongTask } from '../terminal/long-task.ts'
import type { Options } from './options.ts'
import type { Inputs } from './samples.ts'

/**
 * Opens the feature extractor of --features, or the default one. For a run, the default one does not depend on the evaluated
 * split.
 */
export async function openExtractor(
  path: string | undefined,
  options: Options,
  { set, folder }: Inputs,
): Promise<Extractor> {
  const { features, featuresSha256: sha256 = null, featuresOutput: output = null } = options
  if (features !== undefined) {
    const { featuresSize: size, featuresMean: mean, featuresStd: std } = options
    return openOnnxExtractor(features, { size, mean, std }, output, sha256)
  }
  const dataset = path === undefined ? set.dataset : await openFeatureData(path, set.dataset)
  const cache = path === undefined ? join(folder, 'classifiers') : classifierFolder(path)
  const { value } = await runLongTask('Training a classifier, %', 100, (report) =>
    openDefaultExtractor(dataset, cache, async (step, steps) => {
      if (await report((100 * step) / steps)) {
        throw new UserError(
          'Stopped. Run the same command again to train the classifier from its first step.',
        )
      }
    }),
  )
  return value
}
