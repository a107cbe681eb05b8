import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createSchedule, domains, paperSchedule, uniforms } from '@ddpm/shared'
import { defaultUNet } from '../trainer/src/network/config.ts'
import {
  createParameterLayout,
  createTables,
  initialize,
  type NamedTensors,
  unflatten,
} from '../trainer/src/network/parameters.ts'
import { parameterSpecs } from '../trainer/src/network/unet.ts'
import { coefficientNames } from '../trainer/src/objective/denoising.ts'
import { decodeSafetensors, encodeSafetensors } from '../trainer/src/run/safetensors.ts'
import type { Batch } from '../trainer/src/step/engine.ts'
import type { StepSpec } from '../trainer/src/step/spec.ts'
import { createBatchMaker } from '../trainer/src/training/batches.ts'

/** The task that both sides train, stored as `task.json` next to the initial weights and the batches. */
export interface Task extends StepSpec {
  readonly clipNorm: number
  readonly learningRate: number
  readonly emaDecay: number
  readonly threads: number
  /** Number of batches, used in rotation. */
  readonly batches: number
}

const common = {
  adam: { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  clipNorm: 1,
  learningRate: 5e-4,
  emaDecay: 0.999,
  threads: availableParallelism(),
  batches: 3,
}

/** The networks to measure, by name. They have no dropout, because both sides would need the same masks. */
export const tasks: Readonly<Record<string, Task>> = {
  small32: {
    ...common,
    unet: {
      ...defaultUNet,
      inputChannels: 1,
      outputChannels: 1,
      baseChannels: 32,
      channelMultiples: [1, 2, 2],
      attention: [false, false, true],
      dropout: 0,
    },
    height: 32,
    width: 32,
    batch: 32,
  },
  /** The published CIFAR-10 network (Ho et al. 2020). */
  cifar10: {
    ...common,
    unet: {
      ...defaultUNet,
      baseChannels: 128,
      channelMultiples: [1, 2, 2, 2],
      attention: [false, true, false, false],
      normGroups: 32,
      normEps: 1e-6,
      heads: 1,
      downsamplePadding: 'after',
      dropout: 0,
    },
    height: 32,
    width: 32,
    batch: 8,
  },
  seed64: { ...common, unet: { ...defaultUNet, dropout: 0 }, height: 64, width: 64, batch: 4 },
}

/**
 * Writes task.json, weights.safetensors (state_dict names) and batch-0.safetensors … into a folder. Images are random
 * bytes: their content does not affect speed.
 * @returns number of trained parameters
 */
export function writeTask(folder: string, task: Task): number {
  const layout = createParameterLayout(parameterSpecs(task.unet))
  const tables = createTables(layout)
  const weights = new Map([
    ...unflatten(layout, initialize(layout, 0)),
    ...layout.tables.map(({ name, shape }) => [name, { shape, data: tables.get(name)! }] as const),
  ])
  const save = (name: string, tensors: NamedTensors) =>
    writeFileSync(join(folder, `${name}.safetensors`), encodeSafetensors({ tensors, metadata: {} }))
  writeFileSync(join(folder, 'task.json'), JSON.stringify(task))
  save('weights', weights)

  const { batch, height, width } = task
  const channels = task.unet.inputChannels
  const count = batch * task.batches
  const values = uniforms(0, { domain: domains.shapes, image: 0, step: 0 }, count * channels * height * width)
  const pixels = Uint8Array.from(values, (u) => Math.floor(u * 256))
  const dataset = { name: 'random', channels, height, width, count, classes: [], pixels, labels: null }
  const batchAt = createBatchMaker(dataset, createSchedule(paperSchedule), task.unet, {
    seed: 0,
    batchSize: batch,
    labelDropout: 0,
    flip: false,
    predictionType: 'epsilon',
    lossWeighting: 'uniform',
  })
  for (let i = 0; i < task.batches; i++) {
    const { x0, noise, timestep, coefficients } = batchAt(i)
    const image = [batch, channels, height, width]
    save(
      `batch-${i}`,
      new Map([
        ['x0', { shape: image, data: x0 }],
        ['noise', { shape: image, data: noise }],
        ['timestep', { shape: [batch], data: timestep }],
        ['coefficients', { shape: [batch, coefficientNames.length], data: coefficients }],
      ]),
    )
  }
  return layout.size
}

/** Reads the files of `writeTask`. */
export function readTask(folder: string): { task: Task; weights: NamedTensors; batches: Batch[] } {
  const task: Task = JSON.parse(readFileSync(join(folder, 'task.json'), 'utf8'))
  const load = (name: string) => {
    const path = join(folder, `${name}.safetensors`)
    return decodeSafetensors(readFileSync(path), path).tensors
  }
  const batches = Array.from({ length: task.batches }, (_, i): Batch => {
    const tensors = load(`batch-${i}`)
    const values = (name: string) => tensors.get(name)!.data
    return {
      x0: values('x0'),
      noise: values('noise'),
      timestep: values('timestep'),
      coefficients: values('coefficients'),
      label: null,
      dropout: null,
    }
  })
  return { task, weights: load('weights'), batches }
}
