import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Dataset, split } from '../data/dataset.ts'
import { openData } from '../data/open.ts'
import { decodeSafetensors, encodeSafetensors } from '../run/safetensors.ts'
import { writeAtomically } from '../support/files.ts'
import { digestOf, keyOf } from './cache.ts'
import { classifierTraining, openClassifier, specOf, trainClassifier, tryClassifier } from './classifier.ts'
import { classifierExtractor, type Extractor } from './extractor.ts'
import { folderOf, runOf } from './images.ts'

/** Part of the labelled pictures that the classifier is tried on. */
const held = 0.1

/**
 * What a model's classifier learns: the pictures that the run was trained with, so that all evaluations of it see the same
 * features; of an exported model those that it is held to.
 */
export async function labelledOf(path: string, evaluated: Dataset): Promise<Dataset> {
  const run = runOf(path)
  if (run === null) return evaluated
  const { data, size, channels, seed } = run.config.recipe
  return openData(data, { ...(size !== null && { size }), channels, seed })
}

/** Beside a run, so that others on the same pictures find the classifier too. */
export function classifierFolder(path: string): string {
  return join(dirname(resolve(folderOf(path))), 'classifiers')
}

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
  const key = keyOf({ spec, training, images: digestOf(dataset.pixels, dataset.labels) })
  const path = join(folder, `${dataset.name.replace(/[^\w.-]/g, '_')}-${key}.safetensors`)
  const describe = (accuracy: number) =>
    `a classifier of ${dataset.name}, ${(100 * accuracy).toFixed(2)} % right on the ` +
    `${Math.round(held * dataset.count)} pictures it was not trained on (${path})`

  if (!existsSync(path)) {
    const { train, validation } = split(dataset, held, training.seed)
    const parameters = await trainClassifier(train, training, onStep)
    const classifier = await openClassifier(spec, parameters)
    const { accuracy, featureScale } = await tryClassifier(classifier, validation)
    await classifier.dispose()
    const tensors = new Map([['parameters', { shape: [parameters.length], data: parameters }]])
    const metadata = { accuracy: String(accuracy), featureScale: String(featureScale) }
    writeAtomically(path, encodeSafetensors({ tensors, metadata }))
  }
  const { tensors, metadata } = decodeSafetensors(readFileSync(path), path)
  const parameters = tensors.get('parameters')!.data
  const classifier = await openClassifier(spec, parameters)
  return classifierExtractor(classifier, {
    scale: Number(metadata['featureScale']),
    description: describe(Number(metadata['accuracy'])),
    digest: digestOf(parameters),
  })
}
