import { dirname, join, resolve } from 'node:path'
import type { Dataset } from '../../data/dataset/dataset.ts'
import { openData } from '../../data/open.ts'
import { dataOptionsOf } from '../../run/run.ts'
import { findRun, modelFolder } from '../inputs/images.ts'
import { openClassifierExtractor } from './classifier.ts'
import type { OnClassifierStep } from './classifier-training.ts'
import type { Extractor } from './extractor.ts'
import { openRandomExtractor } from './random.ts'

/**
 * Opens the default extractor: a classifier that is trained on labelled images, or a random network if they have no labels.
 * @param folder cache of classifiers
 */
export function openDefaultExtractor(
  dataset: Dataset,
  folder: string,
  onStep: OnClassifierStep,
): Promise<Extractor> {
  return dataset.labels === null || dataset.classes.length < 2
    ? openRandomExtractor(dataset)
    : openClassifierExtractor(dataset, folder, onStep)
}

/**
 * Opens the images that determine a model's default extractor. For a run this is its whole dataset, so that all evaluations
 * of the run use the same features. For an exported model it is the images that the model is compared with.
 */
export async function openFeatureData(path: string, evaluated: Dataset): Promise<Dataset> {
  const run = findRun(path)
  if (run === null) return evaluated
  const { recipe } = run.config
  return openData(recipe.data, dataOptionsOf(recipe))
}

/** Returns the cache folder next to a run's folder, so that runs on the same images share a classifier. */
export function classifierFolder(path: string): string {
  return join(dirname(resolve(modelFolder(path))), 'classifiers')
}
