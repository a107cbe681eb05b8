import * as tf from '@tensorflow/tfjs-core'
import { createOps } from '../algebra/ops.ts'
import { createParameterLayout, type ParameterLayout } from '../network/parameters.ts'
import { parameterSpecs, unet } from '../network/unet.ts'
import { type DenoisingInputs, denoisingLoss } from '../objective/denoising.ts'
import type { Batch, Device, Engine, StepResult, TrainingState } from '../step/engine.ts'
import { adamStep, clipScale, mapState, norm, type OptimizerState, stateNames } from '../step/optimizer.ts'
import type { StepSpec } from '../step/spec.ts'
import { openBackend } from './tfjs-backend.ts'
import { tfjs } from './tfjs-ops.ts'

const ops = createOps(tfjs)

/**
 * Creates an engine that trains with TensorFlow.js. It runs the same network and loss eagerly, and TensorFlow.js computes
 * the gradients.
 *
 * The optimizer is `adamStep`. tf.train.adam has no weight decay and a fixed learning rate, and it stores moments per
 * variable, whereas checkpoints store flat vectors.
 * @throws UserError if the device, its driver or a package is missing
 */
export async function createTfjsEngine(
  spec: StepSpec,
  tables: ReadonlyMap<string, Float32Array>,
  state: TrainingState,
  device: Device,
): Promise<Engine> {
  const { unet: config, height, width, adam, clipNorm } = spec
  const layout = createParameterLayout(parameterSpecs(config))
  const { name: backend, description } = await openBackend(device)
  await tf.setBackend(backend)

  const tableTensors = new Map(
    layout.tables.map(({ name, shape }) => [name, tf.tensor(tables.get(name)!, [...shape])]),
  )
  let current: OptimizerState<tf.Tensor> = mapState((name) => tf.tensor1d(state[name]))

  const images = (values: Float32Array, n: number) =>
    tf.tensor4d(values, [n, config.inputChannels, height, width])
  const columns = (values: Float32Array, n: number) => tf.tensor2d(values, [n, values.length / n])

  function inputsOf(batch: Batch): DenoisingInputs<tf.Tensor> {
    const n = batch.timestep.length
    return {
      x0: images(batch.x0, n),
      noise: images(batch.noise, n),
      timestep: tf.tensor1d(batch.timestep),
      label: batch.label && tf.tensor1d(batch.label),
      coefficients: columns(batch.coefficients, n),
      dropout: batch.dropout && columns(batch.dropout, n),
    }
  }

  /** Looks up parameters among `views` (in the layout's order) and the tables. */
  const parametersFrom = (views: readonly tf.Tensor[]) => {
    const byName = new Map(layout.entries.map(({ name }, i) => [name, views[i]!]))
    return ({ name }: { name: string }) => byName.get(name) ?? tableTensors.get(name)!
  }

  interface LossAndGradient {
    /** [1] */
    readonly loss: tf.Tensor
    /** [P] */
    readonly gradient: tf.Tensor
  }

  function differentiate(batch: Batch): LossAndGradient {
    const inputs = inputsOf(batch)
    const loss = (...views: tf.Tensor[]) => denoisingLoss(ops, spec, parametersFrom(views), inputs)
    const { value, grads } = tf.valueAndGrads(loss)(viewsOf(layout, current.parameters))
    return {
      loss: value,
      gradient: tf.concat(
        grads.map((part) => tf.reshape(part, [part.size])),
        0,
      ),
    }
  }

  /** Returns the mean over the micro-batches. Only the sums so far stay in memory. */
  function meanOf(batches: readonly Batch[]): LossAndGradient {
    const total = batches.reduce<LossAndGradient | null>((sum, batch) => {
      const next = tf.tidy(() => {
        const { loss, gradient } = differentiate(batch)
        return sum
          ? { loss: tf.add(sum.loss, loss), gradient: tf.add(sum.gradient, gradient) }
          : { loss, gradient }
      })
      if (sum) tf.dispose([sum.loss, sum.gradient])
      return next
    }, null)!
    if (batches.length === 1) return total
    return { loss: tf.div(total.loss, batches.length), gradient: tf.div(total.gradient, batches.length) }
  }

  return {
    description: `TensorFlow.js ${tf.version_core} on ${description}`,

    async step(batches, scalars): Promise<StepResult> {
      await tf.setBackend(backend)
      const tensors = tf.tidy(() => {
        const { loss, gradient } = meanOf(batches)
        return { loss, gradient, gradientNorm: norm(ops, [gradient]) }
      })
      const [lossData, normData] = await Promise.all([tensors.loss.data(), tensors.gradientNorm.data()])
      const [loss, gradientNorm] = [lossData[0]!, normData[0]!]
      const finite = Number.isFinite(loss) && Number.isFinite(gradientNorm)
      if (finite) {
        const next = tf.tidy(() => {
          const clipped = ops.scale(tensors.gradient, clipScale(gradientNorm, clipNorm))
          const scalarTensors = {
            stepSize: tf.tensor1d([scalars.stepSize]),
            rootCorrection: tf.tensor1d([scalars.rootCorrection]),
            weightScale: tf.tensor1d([scalars.weightScale]),
            emaRate: tf.tensor1d([scalars.emaRate]),
          }
          return { ...adamStep(ops, current, clipped, scalarTensors, adam) }
        })
        tf.dispose({ ...current })
        current = next
      }
      tf.dispose([tensors.loss, tensors.gradient, tensors.gradientNorm])
      return { loss, gradientNorm, finite }
    },

    async predict(weights, x, timestep, label) {
      await tf.setBackend(backend)
      const output = tf.tidy(() => {
        const views = viewsOf(layout, weights === 'ema' ? current.ema : current.parameters)
        return unet(ops, config, parametersFrom(views), {
          x: images(x, timestep.length),
          timestep: tf.tensor1d(timestep),
          label: label && tf.tensor1d(label),
        })
      })
      const values = await output.data()
      output.dispose()
      return values as Float32Array
    },

    async state() {
      const values = await Promise.all(
        stateNames.map(async (name) => [name, (await current[name].data()) as Float32Array] as const),
      )
      const byName = new Map(values)
      return mapState((name) => byName.get(name)!)
    },

    async dispose() {
      tf.dispose([...tableTensors.values(), ...stateNames.map((name) => current[name])])
    },
  }
}

/** Returns the parameters of a flat vector as tensors, in the layout's order. */
function viewsOf({ entries }: ParameterLayout, flat: tf.Tensor): tf.Tensor[] {
  return entries.map(({ shape, offset, size }) => tf.reshape(tf.slice(flat, offset, size), [...shape]))
}
