import { domains, permutation } from '@ddpm/shared'
import ort from 'onnxruntime-node'
import { gradients } from '../algebra/grad.ts'
import { createGraph, type Graph, type Node } from '../algebra/graph.ts'
import type { Ops } from '../algebra/ops.ts'
import { type Dataset, writeImage } from '../data/dataset.ts'
import { compile } from '../engines/onnxruntime.ts'
import {
  childScope,
  conv2d,
  groupNorm,
  linear,
  type ParameterSpec,
  type Parameters,
  type Scope,
} from '../network/layers.ts'
import { initialize, type Layout, layoutOf, unflatten } from '../network/parameters.ts'
import { adamStep, stepScalarNames, stepScalars } from '../step/optimizer.ts'

/** What a classifier is for. */
export interface ClassifierSpec {
  readonly channels: number
  readonly height: number
  readonly width: number
  readonly classes: number
}

/** Numbers that a picture becomes before it is put into a class. */
const featureDims = 64

const levels = [32, 64, 64] as const

/** Three convolutions, each halving the picture, then what is known of it in 64 numbers. */
function classifier<T>(
  ops: Ops<T>,
  parameters: Parameters<T>,
  x: T,
  { classes }: ClassifierSpec,
): { features: T; logits: T } {
  const root: Scope<T> = { ops, parameters, path: '' }
  let h = x
  for (const [level, outputs] of levels.entries()) {
    const scope = childScope(root, `levels.${level}`)
    h = conv2d(childScope(scope, 'conv'), h, {
      outputs,
      kernel: 3,
      stride: 2,
      padding: [1, 1, 1, 1],
    })
    h = ops.silu(groupNorm(childScope(scope, 'norm'), h, { groups: 8, eps: 1e-5 }))
  }
  const [n, ...rest] = ops.shape(h)
  const flat = ops.reshape(h, [n!, (rest as number[]).reduce((a, b) => a * b, 1)])
  const features = ops.silu(linear(childScope(root, 'features'), flat, { outputs: featureDims }))
  return { features, logits: linear(childScope(root, 'classes'), features, { outputs: classes }) }
}

function imageInput(
  { input }: Graph,
  { channels, height, width }: ClassifierSpec,
  batch: number | 'N',
): Node {
  return input('x', [batch, channels, height, width])
}

/** Where each parameter lies in the flat vector. */
function classifierLayout(spec: ClassifierSpec): Layout {
  const graph = createGraph()
  const specs: ParameterSpec[] = []
  classifier(
    graph.ops,
    (parameter) => {
      specs.push(parameter)
      return graph.input(parameter.name, parameter.shape)
    },
    imageInput(graph, spec, 'N'),
    spec,
  )
  return layoutOf(specs)
}

/** −log softmax(logits)[label], the mean over the batch: [1]. The logits of so small a network need no shifting. */
function crossEntropy<T>(ops: Ops<T>, logits: T, label: T): T {
  const [n, classes] = ops.shape(logits) as [number, number]
  const normaliser = ops.log(ops.reduceSum(ops.exp(logits), [1]))
  const chosen = ops.reduceSum(ops.mul(logits, ops.oneHot(label, { depth: classes })), [1])
  return ops.reshape(ops.scale(ops.reduceSum(ops.sub(normaliser, chosen), [0]), 1 / n), [1])
}

const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
const stateNames = ['parameters', 'firstMoment', 'secondMoment'] as const

/** A step of Adam as one graph. Inputs: the state's vectors, x, label, scalars; outputs: the next state, loss. */
function trainingGraph(spec: ClassifierSpec, layout: Layout, batch: number): Record<string, Node> {
  const graph = createGraph()
  const { ops, input } = graph
  const [parameters, firstMoment, secondMoment] = stateNames.map((name) => input(name, [layout.size]))
  const views = layout.entries.map(({ shape, offset, size }) =>
    ops.reshape(ops.slice(parameters!, { axis: 0, start: offset, end: offset + size }), shape),
  )
  const byName = new Map(layout.entries.map(({ name }, i) => [name, views[i]!]))
  const { logits } = classifier(ops, ({ name }) => byName.get(name)!, imageInput(graph, spec, batch), spec)
  const loss = crossEntropy(ops, logits, input('label', [batch]))
  const parts = gradients(graph, loss, views)
  const gradient = ops.concat(
    parts.map((part, i) => ops.reshape(part, [layout.entries[i]!.size])),
    0,
  )
  const scalars = input('scalars', [stepScalarNames.length])
  const [stepSize, rootCorrection, weightScale, emaRate] = stepScalarNames.map((_, i) =>
    ops.slice(scalars, { axis: 0, start: i, end: i + 1 }),
  )
  const next = adamStep(
    ops,
    { parameters: parameters!, firstMoment: firstMoment!, secondMoment: secondMoment!, ema: parameters! },
    gradient,
    { stepSize: stepSize!, rootCorrection: rootCorrection!, weightScale: weightScale!, emaRate: emaRate! },
    adam,
  )
  return { loss, ...Object.fromEntries(stateNames.map((name) => [`next.${name}`, next[name]])) }
}

export interface ClassifierTraining {
  readonly epochs: number
  readonly batch: number
  /** At the first step; it falls to 0 along half a cosine. */
  readonly learningRate: number
  readonly seed: number
}

export const classifierTraining: ClassifierTraining = { epochs: 2, batch: 64, learningRate: 2e-3, seed: 0 }

/**
 * Trains a classifier.
 * @param dataset labelled
 * @returns its parameters [P]
 */
export async function trainClassifier(
  dataset: Dataset,
  { epochs, batch: wanted, learningRate, seed }: ClassifierTraining,
  onStep: (step: number, steps: number, loss: number) => Promise<void> | void,
): Promise<Float32Array> {
  const spec = specOf(dataset)
  const layout = classifierLayout(spec)
  const batch = Math.min(wanted, dataset.count)
  const perEpoch = Math.floor(dataset.count / batch)
  const steps = epochs * perEpoch
  const session = await compile(trainingGraph(spec, layout, batch), new Map())
  const size = dataset.channels * dataset.height * dataset.width
  const x = new Float32Array(batch * size)
  const label = new Float32Array(batch)
  let state: Record<string, ort.Tensor> = Object.fromEntries(
    stateNames.map((name) => {
      const values = name === 'parameters' ? initialize(layout, seed) : new Float32Array(layout.size)
      return [name, new ort.Tensor('float32', values, [layout.size])]
    }),
  )

  let order: Uint32Array = new Uint32Array()
  for (let step = 0; step < steps; step++) {
    const within = step % perEpoch
    if (within === 0)
      order = permutation(seed, { domain: domains.shuffle, image: 0, step: step / perEpoch }, dataset.count)
    for (let i = 0; i < batch; i++) {
      const index = order[within * batch + i]!
      writeImage(dataset, index, x, i * size, false)
      label[i] = dataset.labels![index]!
    }
    const rate = (learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2
    const scalars = stepScalars(adam, { step: step + 1, learningRate: rate, weightDecay: 0, emaDecay: 0 })
    const results = await session.run({
      ...state,
      x: new ort.Tensor('float32', x, [batch, dataset.channels, dataset.height, dataset.width]),
      label: new ort.Tensor('float32', label, [batch]),
      scalars: new ort.Tensor(
        'float32',
        stepScalarNames.map((name) => scalars[name]),
      ),
    })
    state = Object.fromEntries(stateNames.map((name) => [name, results[`next.${name}`]!]))
    await onStep(step + 1, steps, (results['loss']!.data as Float32Array)[0]!)
  }
  const parameters = state['parameters']!.data as Float32Array
  await session.release()
  return parameters
}

export function specOf({ channels, height, width, classes }: Dataset): ClassifierSpec {
  return { channels, height, width, classes: classes.length }
}

/** A trained classifier. */
export interface Classifier {
  /** x [n, C, H, W] in [−1, 1] → features [n, featureDims] and logits [n, classes]. */
  run(x: Float32Array, n: number): Promise<{ features: Float32Array; logits: Float32Array }>
  dispose(): Promise<void>
}

export async function openClassifier(spec: ClassifierSpec, parameters: Float32Array): Promise<Classifier> {
  const graph = createGraph()
  const outputs = classifier(
    graph.ops,
    ({ name, shape }) => graph.input(name, shape),
    imageInput(graph, spec, 'N'),
    spec,
  )
  const values = unflatten(classifierLayout(spec), parameters)
  const session = await compile(outputs, new Map([...values].map(([name, { data }]) => [name, data])))
  return {
    async run(x, n) {
      const { features, logits } = await session.run({
        x: new ort.Tensor('float32', x, [n, spec.channels, spec.height, spec.width]),
      })
      return { features: features!.data as Float32Array, logits: logits!.data as Float32Array }
    },
    dispose: () => session.release(),
  }
}

/**
 * Tries a classifier on labelled pictures.
 * @returns the part that is put into its class, and the root mean square of the features
 */
export async function tryClassifier(
  classifier: Classifier,
  dataset: Dataset,
): Promise<{ accuracy: number; featureScale: number }> {
  const size = dataset.channels * dataset.height * dataset.width
  const classes = dataset.classes.length
  let right = 0
  let squares = 0
  for (let first = 0; first < dataset.count; first += 256) {
    const n = Math.min(256, dataset.count - first)
    const x = new Float32Array(n * size)
    for (let i = 0; i < n; i++) writeImage(dataset, first + i, x, i * size, false)
    const { features, logits } = await classifier.run(x, n)
    for (let i = 0; i < n; i++) {
      const row = logits.subarray(i * classes, (i + 1) * classes)
      if (row.indexOf(Math.max(...row)) === dataset.labels![first + i]) right += 1
    }
    for (const value of features) squares += value ** 2
  }
  return { accuracy: right / dataset.count, featureScale: Math.sqrt(squares / dataset.count / featureDims) }
}
