import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Dataset, split, toSigned } from '../../data/dataset/dataset.ts'
import { decodeSafetensors, encodeSafetensors } from '../../run/safetensors.ts'
import { writeAtomically } from '../../support/files.ts'
import { cacheKey, digest } from '../inputs/cache.ts'
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
 * @param dataset labelled images of at least two classes
 */
export async function openClassifierExtractor(
  dataset: Dataset,
  folder: string,
  onStep: OnClassifierStep,
): Promise<Extractor> {
  const spec = specOf(dataset)
  // Increase the version if a change of the code changes the trained parameters. This invalidates cached classifiers.
  const training = { ...classifierTraining, held: validationFraction, version: 2 }
  const key = cacheKey({ spec, training, images: digest(dataset.pixels, dataset.labels!) })
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
