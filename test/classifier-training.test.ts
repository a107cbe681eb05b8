import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createShapes } from '../trainer/src/data/shapes/dataset.ts'
import { openClassifier, specOf } from '../trainer/src/evaluation/features/classifier-network.ts'
import {
  classifierTraining,
  trainClassifier,
  validateClassifier,
} from '../trainer/src/evaluation/features/classifier-training.ts'

function close(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, expected ${expected}`)
}

test('a classifier learns, and training is reproducible', async () => {
  const dataset = createShapes(320, 5)
  const training = { ...classifierTraining, epochs: 8, batch: 40, learningRate: 4e-3 }
  const losses: number[] = []
  const train = () => trainClassifier(dataset, training, (_, __, loss) => void losses.push(loss))
  const parameters = await train()
  // An untrained classifier of 36 classes has a loss of −log 1/36.
  close(losses[0]!, Math.log(36), 0.3)
  const classifier = await openClassifier(specOf(dataset), parameters)
  const { accuracy } = await validateClassifier(classifier, createShapes(200, 6))
  assert.ok(accuracy > 0.5, `accuracy ${accuracy} on unseen figures`)
  await classifier.dispose()
  assert.deepEqual(await train(), parameters)
})
