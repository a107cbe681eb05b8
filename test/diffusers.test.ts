// Loads exported models in diffusers and compares their images with ours, for the same noise.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fillNoise, type GenerateOptions } from '@ddpm/shared'
import { exportPytorch } from '../trainer/src/export/pytorch.ts'
import { openModel } from '../trainer/src/inference/model.ts'
import { sample } from '../trainer/src/inference/sample.ts'
import { createTables, initialize } from '../trainer/src/network/parameters.ts'
import { saveCheckpoint } from '../trainer/src/run/checkpoint.ts'
import { type Recipe, recipes } from '../trainer/src/run/recipes.ts'
import { layoutOfRun, openCheckpoint, type RunConfig, writeRunConfig } from '../trainer/src/run/run.ts'
import { decodeSafetensors } from '../trainer/src/run/safetensors.ts'
import { initialState } from '../trainer/src/step/engine.ts'
import { missingPackages, runPython } from './support/python.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-diffusers-'))
after(() => rmSync(folder, { recursive: true }))
const script = fileURLToPath(new URL('diffusers-pipeline.py', import.meta.url))

interface Case {
  readonly recipe: Partial<Recipe>
  readonly dataset: Partial<RunConfig['dataset']>
}

const cases = {
  'two levels, several heads, not square': {
    recipe: {
      channelMultiples: [1, 2],
      attention: [false, true],
      heads: 2,
      numResBlocks: 2,
      timeMultiple: 2,
    },
    dataset: { height: 16, width: 8 },
  },
  'three levels, padding at the end, learned variances': {
    recipe: {
      channelMultiples: [1, 2, 3],
      attention: [true, false, true],
      heads: 1,
      downsamplePadding: 'after',
      normEps: 1e-3,
      predictionType: 'v',
      betaSchedule: 'cosine',
      varianceType: 'learnedRange',
      // As many as sampling steps: otherwise diffusers adds noise in the last step.
      timesteps: 10,
    },
    dataset: { channels: 1 },
  },
  'two levels, classes': {
    recipe: { channelMultiples: [1, 1], attention: [false, true] },
    dataset: { classes: ['light', 'warm'] },
  },
  'heads of different size': { recipe: { channelMultiples: [1, 2], attention: [true, false] }, dataset: {} },
} satisfies Readonly<Record<string, Case>>

/** Creates a run with random weights, and exports it for PyTorch. */
function exportCase(name: keyof typeof cases) {
  const { recipe, dataset }: Case = cases[name]
  const config: RunConfig = {
    version: 1,
    recipe: { ...recipes['images']!, baseChannels: 16, numResBlocks: 1, zeroInit: false, ...recipe },
    dataset: { name, count: 0, channels: 3, height: 16, width: 16, classes: [], ...dataset },
  }
  const path = mkdtempSync(join(folder, 'run-'))
  writeRunConfig(path, config)
  const layout = layoutOfRun(config)
  const weights = initialize(layout, 1)
  // Otherwise norms and biases would be ones and zeros, and could be exchanged unnoticed.
  const noise = noiseOf(2, 0, 1, weights.length)
  const state = initialState(weights.map((value, i) => value + 0.05 * noise[i]!))
  const progress = { step: 0, seconds: 0, loss: null, validationLoss: null }
  saveCheckpoint(path, layout, { progress, state, tables: createTables(layout) })
  const { run, checkpoint } = openCheckpoint(path)
  const pytorch = join(path, 'pytorch')
  const { files, obstacle } = exportPytorch(run, checkpoint, { folder: pytorch, weights: 'ema' })
  return { path, pytorch, files: files.map(({ path }) => path).sort(), obstacle, config, layout, state }
}

/** Returns the noise of a step for `count` images of `size` values. */
function noiseOf(seed: number, step: number, count: number, size: number): Float32Array {
  const noise = new Float32Array(count * size)
  fillNoise(
    seed,
    Array.from({ length: count }, (_, i) => i),
    step,
    noise,
  )
  return noise
}

/** A request of diffusers-pipeline.py, and the same computation in this project. */
interface Comparison {
  readonly request: object
  readonly ours: () => Promise<Float32Array>
}

function compareImages(
  { path, pytorch, config }: ReturnType<typeof exportCase>,
  pipeline: string,
  sampler: Partial<GenerateOptions>,
): Comparison {
  const { channels, height, width } = config.dataset
  const [count, steps, seed] = [2, 10, 7]
  const noise = Array.from({ length: steps + 1 }, (_, step) => {
    return [...noiseOf(seed, step, count, channels * height * width)]
  })
  return {
    request: { folder: pytorch, pipeline, steps, shape: [count, channels, height, width], noise },
    async ours() {
      const model = await openModel(path, 'ema')
      const options = { seed, count, steps, spacing: 'trailing', ...sampler } as const
      const images = await sample(model.info, model.network, options)
      await model.dispose()
      return images.map((value) => Math.min(Math.max(value / 2 + 0.5, 0), 1))
    },
  }
}

function comparePredictions({ path, pytorch }: ReturnType<typeof exportCase>): Comparison {
  const shape = [3, 3, 16, 16]
  const x = noiseOf(3, 0, 3, 3 * 16 * 16)
  const timesteps = [0, 500, 999]
  const labels = [0, 1, 2]
  return {
    request: { folder: pytorch, pipeline: 'UNet2DModel', shape, x: [...x], timesteps, labels },
    async ours() {
      const model = await openModel(path, 'ema')
      const predicted = await model.network(x, Float32Array.from(timesteps), Float32Array.from(labels))
      await model.dispose()
      return predicted
    },
  }
}

suite('an exported model in diffusers', () => {
  const ddim = { sampler: 'ddim', eta: 0, epsilon: 'raw' } as const
  const skip = missingPackages('diffusers', 'torch')

  test('generates the same images, within 2/255, and predicts the same', {
    skip,
    timeout: 300_000,
  }, async () => {
    const notSquare = exportCase('two levels, several heads, not square')
    const learned = exportCase('three levels, padding at the end, learned variances')
    const comparisons: Readonly<Record<string, Comparison>> = {
      'DDPM, not square': compareImages(notSquare, 'DDPMPipeline', { sampler: 'ddpm' }),
      'DDIM, not square': compareImages(notSquare, 'DDIMPipeline', ddim),
      'DDPM, learned variances': compareImages(learned, 'DDPMPipeline', { sampler: 'ddpm' }),
      'predictions with classes': comparePredictions(exportCase('two levels, classes')),
    }
    const requests = join(folder, 'requests.json')
    writeFileSync(requests, JSON.stringify(Object.values(comparisons).map(({ request }) => request)))
    // One process for all requests, because importing diffusers takes seconds.
    const results = (await runPython(script, [requests])) as number[][]
    for (const [i, [name, { ours }]] of Object.entries(comparisons).entries()) {
      const [theirs, own] = [results[i]!, await ours()]
      assert.equal(theirs.length, own.length)
      const worst = Math.max(...theirs.map((value, i) => Math.abs(value - own[i]!)))
      assert.ok(255 * worst <= 2, `${name}: the values differ by up to ${(255 * worst).toFixed(3)}/255`)
    }
  })

  test('with classes has no pipeline', () => {
    assert.ok(!exportCase('two levels, classes').files.includes('model_index.json'))
  })
})

suite('the export for PyTorch', () => {
  test("has the names and shapes of diffusers' parameters", () => {
    const recorded = new URL('reference/unet2d.json', import.meta.url)
    for (const [name, expected] of Object.entries(JSON.parse(readFileSync(recorded, 'utf8')))) {
      const { pytorch } = exportCase(name as keyof typeof cases)
      const file = join(pytorch, 'unet/diffusion_pytorch_model.safetensors')
      const { tensors } = decodeSafetensors(readFileSync(file), file)
      const shapes = Object.fromEntries([...tensors].map(([key, { shape }]) => [key, shape]))
      assert.deepEqual(shapes, expected)
    }
  })

  test('of a network that diffusers does not have: the original names, and the reason', () => {
    const { pytorch, files, obstacle, layout, state } = exportCase('heads of different size')
    assert.match(obstacle!, /4 heads at levels of 16 and 32 channels/)
    assert.deepEqual(files, ['config.json', 'model.safetensors'])
    assert.equal(JSON.parse(readFileSync(join(pytorch, 'config.json'), 'utf8')).diffusersObstacle, obstacle)
    const file = join(pytorch, 'model.safetensors')
    const { tensors } = decodeSafetensors(readFileSync(file), file)
    const { name, offset, size } = layout.entries.at(-1)!
    assert.deepEqual(tensors.get(name)!.data, state.ema.slice(offset, offset + size))
  })

  test('removes the files of an earlier export', () => {
    const { path, pytorch } = exportCase('heads of different size')
    const other = exportCase('two levels, classes')
    const { run, checkpoint } = openCheckpoint(other.path)
    exportPytorch(run, checkpoint, { folder: pytorch, weights: 'ema' })
    assert.ok(existsSync(join(pytorch, 'unet/config.json')), path)
    assert.ok(!existsSync(join(pytorch, 'model.safetensors')))
    assert.ok(!existsSync(join(pytorch, 'config.json')))
  })
})
