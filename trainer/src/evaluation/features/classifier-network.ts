import { createGraph, type Graph, type Node } from '../../algebra/graph.ts'
import type { Ops } from '../../algebra/ops.ts'
import type { Dataset } from '../../data/dataset/dataset.ts'
import { compile } from '../../engines/onnxruntime.ts'
import {
  childScope,
  conv2d,
  groupNorm,
  linear,
  type ParameterSpec,
  type Parameters,
  type Scope,
} from '../../network/layers.ts'
import { createParameterLayout, type ParameterLayout, unflatten } from '../../network/parameters.ts'
import ort from '../../support/onnxruntime-node.ts'

/** Input shape and number of classes of a classifier. */
export interface ClassifierSpec {
  readonly channels: number
  readonly height: number
  readonly width: number
  readonly classes: number
}

export function specOf({ channels, height, width, classes }: Dataset): ClassifierSpec {
  return { channels, height, width, classes: classes.length }
}

/** Length of the feature vector, which is the output of the penultimate layer. */
export const featureDims = 64

/** Output channels of the convolutions. */
const levels = [32, 64, 64] as const

/** A trained classifier. */
export interface Classifier {
  /** x [n, C, H, W] in [−1, 1] → features [n, featureDims] and logits [n, classes]. */
  run(x: Float32Array, n: number): Promise<{ features: Float32Array; logits: Float32Array }>
  dispose(): Promise<void>
}

/** @param parameters [P], see `classifierLayout` */
export async function openClassifier(spec: ClassifierSpec, parameters: Float32Array): Promise<Classifier> {
  const { features, logits } = recordClassifier(createGraph(), spec, 'N')
  const values = unflatten(classifierLayout(spec), parameters)
  const weights = new Map([...values].map(([name, { data }]) => [name, data]))
  const session = await compile({ features, logits }, weights)
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

/** Returns the offsets of the parameters in the flat vector [P]. */
export function classifierLayout(spec: ClassifierSpec): ParameterLayout {
  return recordClassifier(createGraph(), spec, 'N').layout
}

/** A classifier in a graph. Its inputs are `x` and one per parameter, under the parameter's name. */
export interface RecordedClassifier {
  readonly layout: ParameterLayout
  /** Parameters in the order of the layout. */
  readonly parameters: readonly Node[]
  readonly features: Node
  readonly logits: Node
}

export function recordClassifier(
  { ops, input }: Graph,
  { channels, height, width, classes }: ClassifierSpec,
  batch: number | 'N',
): RecordedClassifier {
  const specs: ParameterSpec[] = []
  const parameters: Node[] = []
  const x = input('x', [batch, channels, height, width])
  const outputs = classify(
    ops,
    (spec) => {
      const node = input(spec.name, spec.shape)
      specs.push(spec)
      parameters.push(node)
      return node
    },
    x,
    classes,
  )
  return { layout: createParameterLayout(specs), parameters, ...outputs }
}

/** Three convolutions of stride 2, a layer of features and a layer of logits. */
function classify<T>(
  ops: Ops<T>,
  parameters: Parameters<T>,
  x: T,
  classes: number,
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
