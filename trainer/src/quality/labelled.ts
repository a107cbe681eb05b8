import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Dataset, split } from '../data/dataset.ts'
import { writeAtomically } from '../files.ts'
import { decodeSafetensors, encodeSafetensors } from '../safetensors.ts'
import { accuracyOf, classifierTraining, openClassifier, specOf, trainClassifier } from './classifier.ts'
import { classifierExtractor, type Extractor } from './extractor.ts'
import { digestOf, keyOf } from './kept.ts'

/** Part of the labelled pictures that the classifier is tried on. */
const held = 0.1

/**
 * The features of a classifier that is trained on a labelled set, or was before: it is kept in `folder`, under a name
 * that depends on the pictures, their labels and how it is trained.
 * @throws UserError where the pictures have no classes to learn
 */
export async function classifierOf(
  dataset: Dataset,
  folder: string,
  onStep: (step: number, steps: number, loss: number) => Promise<void> | void,
): Promise<Extractor> {
  if (dataset.labels === null || dataset.classes.length < 2) {
    throw new UserError(
      `${dataset.name} has no classes to learn features from. Name a feature extractor: --features network.onnx`,
    )
  }
  const spec = specOf(dataset)
  const training = { ...classifierTraining, held }
  const key = keyOf({ spec, training, pictures: digestOf(dataset.pixels, dataset.labels) })
  const path = join(folder, `${dataset.name.replace(/[^\w.-]/g, '_')}-${key}.safetensors`)
  const describe = (accuracy: number) =>
    `a classifier of ${dataset.name}, ${(100 * accuracy).toFixed(2)} % right on the ` +
    `${Math.round(held * dataset.count)} pictures it was not trained on (${path})`

  if (existsSync(path)) {
    const { tensors, metadata } = decodeSafetensors(readFileSync(path), path)
    const parameters = tensors.get('parameters')!.data
    const classifier = await openClassifier(spec, parameters)
    return classifierExtractor(classifier, parameters, describe(Number(metadata['accuracy'])))
  }
  const { train, validation } = split(dataset, held, training.seed)
  const parameters = await trainClassifier(train, training, onStep)
  const classifier = await openClassifier(spec, parameters)
  const accuracy = await accuracyOf(classifier, validation)
  const tensors = new Map([['parameters', { shape: [parameters.length], data: parameters }]])
  writeAtomically(path, encodeSafetensors({ tensors, metadata: { accuracy: String(accuracy) } }))
  return classifierExtractor(classifier, parameters, describe(accuracy))
}
