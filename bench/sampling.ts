import { cpus } from 'node:os'
import {
  createSchedule,
  defaultSampling,
  domains,
  fillNormals,
  median,
  paperSchedule,
  planFor,
  planSampler,
  runPlan,
  type SamplerOptions,
  samplers,
} from '@ddpm/shared'
import { parseWholeNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { toOnnxModel } from '../trainer/src/inference/graph.ts'
import { openGraph } from '../trainer/src/inference/model.ts'
import { createParameterLayout, createTables, initialize } from '../trainer/src/network/parameters.ts'
import { parameterSpecs } from '../trainer/src/network/unet.ts'
import { recipes } from '../trainer/src/run/recipes.ts'
import { modelInfoOf, networkOf, type RunConfig } from '../trainer/src/run/run.ts'
import { initialState } from '../trainer/src/step/engine.ts'

const command = new Command('npm run bench:sampling --')
  .description('Measures the costs of sampling besides the network: planning, the loop, and memory per step.')
  .option('--count <n>', 'batch size', parseWholeNumber, 16)
  .option('--steps <n>', 'steps of each plan', parseWholeNumber, 50)
  .addHelpText(
    'after',
    `
The network is that of the recipe shapes (32×32, RGB) with untrained weights, in onnxruntime on the CPU. Times are
medians.

Example:
  npm run bench:sampling -- --count 1 --steps 1000`,
  )
  .action(main)

const config: RunConfig = {
  version: 1,
  recipe: recipes['shapes']!,
  dataset: { name: 'shapes', count: 0, channels: 3, height: 32, width: 32, classes: ['one', 'other'] },
}

async function main({ count, steps }: { count: number; steps: number }): Promise<void> {
  const model = modelInfoOf(config)
  const size = 3 * 32 * 32
  const evaluation = await evaluationTime(count, size)
  console.log(`CPU: ${cpus()[0]?.model ?? 'unknown'}`)
  console.log(`One evaluation of the network on ${count} images: ${milliseconds(evaluation)}`)
  console.log(
    `\n| sampler, ${steps} steps | planning | share of one evaluation | one step of the loop, without noise | memory allocated per step |`,
  )
  console.log('| --- | --- | --- | --- | --- |')
  for (const sampler of samplers) {
    // Includes the tables of the schedule, as in practice.
    const planning = medianTime(50, () => planFor(model, { sampler, steps }))
    const { time, bytes } = await stepCost({ sampler, steps }, count, size)
    const cells = [
      sampler,
      milliseconds(planning),
      `${((100 * planning) / evaluation).toFixed(2)} %`,
      milliseconds(time),
      `${bytes} bytes`,
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  const noise = new Float32Array(size)
  const noiseTime = medianTime(50, () =>
    fillNormals(1, { domain: domains.sampling, image: 0, step: 0 }, noise),
  )
  console.log(`\nNoise of one step for ${count} images: ${milliseconds(noiseTime * count)}`)
}

async function evaluationTime(count: number, size: number): Promise<number> {
  const layout = createParameterLayout(parameterSpecs(networkOf(config).unet))
  const trained = { state: initialState(initialize(layout, 1)), tables: createTables(layout) }
  const { network, dispose } = await openGraph(toOnnxModel(config, trained, 'raw'), modelInfoOf(config))
  const [x, t, label] = [new Float32Array(count * size), new Float32Array(count), new Float32Array(count)]
  const times: number[] = []
  for (let i = 0; i < 12; i++) {
    const began = performance.now()
    await network(x, t, label)
    times.push(performance.now() - began)
  }
  await dispose()
  return median(times.slice(2))
}

/** Measures time and typed-array memory of one step, with a network that costs nothing and a plan without noise. */
async function stepCost(
  sampling: Pick<SamplerOptions, 'sampler' | 'steps'>,
  count: number,
  size: number,
): Promise<{ time: number; bytes: number }> {
  const options: SamplerOptions = { ...defaultSampling, ...sampling, predictionType: 'epsilon', clamp: 1 }
  const plan = planSampler(createSchedule(paperSchedule), options)
  const noiseless = { ...plan, rows: plan.rows.map((row) => ({ ...row, d: 0 })) }
  const output = new Float32Array(count * size)
  const times: number[] = []
  const memory: number[] = []
  let before = 0
  await runPlan(noiseless, () => output, {
    seed: 0,
    indices: Array.from({ length: count }, (_, i) => i),
    size,
    onStep() {
      const now = performance.now()
      if (before > 0) times.push(now - before)
      memory.push(process.memoryUsage().arrayBuffers)
      before = performance.now()
    },
  })
  return { time: median(times), bytes: Math.max(0, ...memory.slice(1).map((now, i) => now - memory[i]!)) }
}

function medianTime(runs: number, work: () => unknown): number {
  return median(
    Array.from({ length: runs }, () => {
      const began = performance.now()
      work()
      return performance.now() - began
    }),
  )
}

function milliseconds(value: number): string {
  return `${value.toPrecision(3)} ms`
}

await runCommand(command)
