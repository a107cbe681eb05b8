import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Dataset, split, toSigned } from '../../data/dataset/dataset.ts'
import { openData } from '../../data/open.ts'
import { dataOptionsOf } from '../../run/run.ts'
import { decodeSafetensors, encodeSafetensors } from '../../run/safetensors.ts'
import { writeAtomically } from '../../support/files.ts'
import { cacheKey, digest } from '../inputs/cache.ts'
import { findRun, modelFolder } from '../inputs/images.ts'
import { openClassifier, specOf } from './classifier-network.ts'
import {
  classifierTraining,
  type OnClassifierStep,
  trainClassifier,
  validateClassifier,
} from './classifier-training.ts'
import { type Extractor, extractInBatches } from './extractor.ts'

/** Fraction of the labelled images that the classifier is validated on. */
const validationFraction = 0.1

/**
 * Opens the features of a classifier that is trained on a labelled dataset. The classifier is cached in `folder`, under a
 * name that depends on the images, their labels and the training.
 * @throws UserError if the images have no classes
 */
export async function openClassifierExtractor(
  dataset: Dataset,
  folder: string,
  onStep: OnClassifierStep,
): Promise<Extractor> {
  if (dataset.labels === null || dataset.classes.length < 2) {
    throw new UserError(
      `Cannot train a classifier for the features: ${dataset.name} has no classes. Pass a feature extractor with ` +
        '--features network.onnx.',
    )
  }
  const spec = specOf(dataset)
  // Increase the version if a change of the code changes the trained parameters. This invalidates cached classifiers.
  const training = { ...classifierTraining, held: validationFraction, version: 2 }
  const key = cacheKey({ spec, training, images: digest(dataset.pixels, dataset.labels) })
  const path = join(folder, `${dataset.name.replace(/[^\w.-]/g, '_')}-${key}.safetensors`)

  if (!existsSync(path)) {
    const { train, validation } = split(dataset, validationFraction, training.seed)
    const parameters = await trainClassifier(train, training, onStep)
    const classifier = await openClassifier(spec, parameters)
    const { accuracy, featureScale } = await validateClassifier(classifier, validation)
    await classifier.dispose()
    const tensors = new Map([['parameters', { shape: [parameters.length], data: parameters }]])
    const metadata = { accuracy: String(accuracy), featureScale: String(featureScale) }
    writeAtomically(path, encodeSafetensors({ tensors, metadata }))
  }
  const { tensors, metadata } = decodeSafetensors(readFileSync(path), path)
  const parameters = tensors.get('parameters')!.data
  const classifier = await openClassifier(spec, parameters)
  // KID's kernel is a cubic polynomial, so features should have a magnitude of about 1. They are divided by their root
  // mean square.
  const scale = Number(metadata['featureScale'])
  const accuracy = (100 * Number(metadata['accuracy'])).toFixed(2)
  return {
    description:
      `a classifier of ${dataset.name}, accuracy ${accuracy} % on ` +
      `${Math.round(validationFraction * dataset.count)} validation images (${path})`,
    digest: digest(parameters),
    extract: (images) =>
      extractInBatches(images, async (pixels, n) => {
        const { features } = await classifier.run(Float32Array.from(pixels, toSigned), n)
        return features.map((value) => value / scale)
      }),
    dispose: () => classifier.dispose(),
  }
}

/**
 * Opens the images that a model's classifier is trained on. For a run this is its whole dataset, so that all evaluations
 * of the run use the same features. For an exported model it is the images that the model is compared with.
 */
export async function openClassifierData(path: string, evaluated: Dataset): Promise<Dataset> {
  const run = findRun(path)
  if (run === null) return evaluated
  const { recipe } = run.config
  return openData(recipe.data, dataOptionsOf(recipe))
}

/** Returns the cache folder next to a run's folder, so that runs on the same images share a classifier. */
export function classifierFolder(path: string): string {
  return join(dirname(resolve(modelFolder(path))), 'classifiers')
}
