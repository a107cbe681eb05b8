import { domains, randomPermutation } from '@ddpm/shared'
import { gradients } from '../../algebra/grad.ts'
import { createGraph, type Node } from '../../algebra/graph.ts'
import type { Ops } from '../../algebra/ops.ts'
import { type Dataset, writeImage } from '../../data/dataset/dataset.ts'
import { compile } from '../../engines/onnxruntime.ts'
import { initialize, unflatten } from '../../network/parameters.ts'
import { initialState } from '../../step/engine.ts'
import { adamStepInPlace, stepScalars } from '../../step/optimizer.ts'
import ort from '../../support/onnxruntime-node.ts'
import {
  type Classifier,
  type ClassifierSpec,
  classifierLayout,
  featureDims,
  recordClassifier,
  specOf,
} from './classifier-network.ts'

export interface ClassifierTraining {
  readonly epochs: number
  /** Images per step. */
  readonly batch: number
  /** Learning rate of the first step. It decays to 0 along half a cosine. */
  readonly learningRate: number
  readonly seed: number
}

export const classifierTraining: ClassifierTraining = { epochs: 2, batch: 64, learningRate: 2e-3, seed: 0 }

/** Receives every training step and its loss. */
export type OnClassifierStep = (step: number, steps: number, loss: number) => Promise<void> | void

const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8 }

/**
 * Trains a classifier with Adam.
 * @param dataset labelled images
 * @returns its parameters [P]
 */
export async function trainClassifier(
  dataset: Dataset,
  { epochs, batch: maxBatch, learningRate, seed }: ClassifierTraining,
  onStep: OnClassifierStep,
): Promise<Float32Array> {
  const spec = specOf(dataset)
  const layout = classifierLayout(spec)
  const batch = Math.min(maxBatch, dataset.count)
  const stepsPerEpoch = Math.floor(dataset.count / batch)
  const steps = epochs * stepsPerEpoch
  const session = await compile(gradientGraph(spec, batch), new Map())
  const size = dataset.channels * dataset.height * dataset.width
  const x = new Float32Array(batch * size)
  const label = new Float32Array(batch)
  const state = initialState(initialize(layout, seed))
  const gradient = new Float32Array(layout.size)
  const parameters = Object.fromEntries(
    Array.from(unflatten(layout, state.parameters), ([name, { data, shape }]) => [
      name,
      new ort.Tensor('float32', data, shape),
    ]),
  )

  let order: Uint32Array = new Uint32Array()
  for (let step = 0; step < steps; step++) {
    const [epoch, position] = [Math.floor(step / stepsPerEpoch), step % stepsPerEpoch]
    if (position === 0)
      order = randomPermutation(seed, { domain: domains.shuffle, image: 0, step: epoch }, dataset.count)
    for (let i = 0; i < batch; i++) {
      const index = order[position * batch + i]!
      writeImage(dataset, index, x, i * size, false)
      label[i] = dataset.labels![index]!
    }
    const results = await session.run({
      ...parameters,
      x: new ort.Tensor('float32', x, [batch, dataset.channels, dataset.height, dataset.width]),
      label: new ort.Tensor('float32', label, [batch]),
    })
    for (const { name, offset } of layout.entries) {
      gradient.set(results[gradientName(name)]!.data as Float32Array, offset)
    }
    const rate = (learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2
    const scalars = stepScalars(adam, { step: step + 1, learningRate: rate, weightDecay: 0, emaDecay: 0 })
    adamStepInPlace(state, gradient, 1, scalars, adam)
    await onStep(step + 1, steps, (results['loss']!.data as Float32Array)[0]!)
  }
  await session.release()
  return state.parameters
}

/** Builds a graph with the inputs x, label and the parameters. Outputs: the loss and the gradient of every parameter. */
function gradientGraph(spec: ClassifierSpec, batch: number): Record<string, Node> {
  const graph = createGraph()
  const { layout, parameters, logits } = recordClassifier(graph, spec, batch)
  const loss = crossEntropy(graph.ops, logits, graph.input('label', [batch]))
  const parts = gradients(graph, loss, parameters)
  return { loss, ...Object.fromEntries(layout.entries.map(({ name }, i) => [gradientName(name), parts[i]!])) }
}

function gradientName(parameter: string): string {
  return `gradient.${parameter}`
}

/**
 * Computes −log softmax(logits)[label], the mean over the batch: [1]. Subtracting the largest logit for stability is
 * not needed: the logits of this network are small.
 */
function crossEntropy<T>(ops: Ops<T>, logits: T, label: T): T {
  const [n, classes] = ops.shape(logits) as [number, number]
  const normaliser = ops.log(ops.reduceSum(ops.exp(logits), [1]))
  const chosen = ops.reduceSum(ops.mul(logits, ops.oneHot(label, { depth: classes })), [1])
  return ops.reshape(ops.scale(ops.reduceSum(ops.sub(normaliser, chosen), [0]), 1 / n), [1])
}

/**
 * Runs a classifier on labelled images.
 * @returns the fraction of correct classes, and the root mean square of the features
 */
export async function validateClassifier(
  classifier: Classifier,
  dataset: Dataset,
): Promise<{ accuracy: number; featureScale: number }> {
  const size = dataset.channels * dataset.height * dataset.width
  const classes = dataset.classes.length
  let correct = 0
  let squares = 0
  for (let first = 0; first < dataset.count; first += 256) {
    const n = Math.min(256, dataset.count - first)
    const x = new Float32Array(n * size)
    for (let i = 0; i < n; i++) writeImage(dataset, first + i, x, i * size, false)
    const { features, logits } = await classifier.run(x, n)
    for (let i = 0; i < n; i++) {
      const row = logits.subarray(i * classes, (i + 1) * classes)
      if (row.indexOf(Math.max(...row)) === dataset.labels![first + i]) correct += 1
    }
    for (const value of features) squares += value ** 2
  }
  return { accuracy: correct / dataset.count, featureScale: Math.sqrt(squares / dataset.count / featureDims) }
}
