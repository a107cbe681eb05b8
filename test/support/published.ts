import {
  createSchedule,
  defaultSampling,
  fromSchedulerConfig,
  type Level,
  type Plan,
  parseSchedulerConfig,
  planLevels,
  planSampler,
  qSample,
  type Row,
  runPlan,
  type SamplerOptions,
  samplerLevels,
} from '@ddpm/shared'
import { torchNormals } from './torch-random.ts'

/**
 * Returns the initial sample of diffusers' scheduler tests: arange with the shape (3, 8, 8, 4), divided by its length. Its
 * last axis is the batch and is moved to the front.
 * @param size values per sample; 3·8 in the one-dimensional tests
 */
export function peerSample(size = planeSize): Float32Array {
  return peerOrder(size, (i) => i)
}

/** Returns the noise of diffusers' tests: the same values in descending order. */
function peerNoise(size: number): Float32Array {
  return peerOrder(size, (i) => batch * size - 1 - i)
}

const batch = 4
const planeSize = 3 * 8 * 8

function peerOrder(size: number, value: (i: number) => number): Float32Array {
  const total = batch * size
  return Float32Array.from(
    { length: total },
    (_, i) => value((i % size) * batch + Math.floor(i / size)) / total,
  )
}

/** The simple function that the scheduler tests of the library diffusers use in place of a trained network. */
export const peerModel = (x: Float32Array, t: number) => x.map((value) => (value * t) / (t + 1))

/** Plans 10 steps of the sampler that a `scheduler_config.json` describes. The content is parsed like that of a file. */
export function planFromConfig(
  content: object,
  overrides: Partial<SamplerOptions>,
): { plan: Plan; levels: Level[]; options: SamplerOptions } {
  const {
    schedule: config,
    sampling,
    ...x0Options
  } = fromSchedulerConfig(parseSchedulerConfig(JSON.stringify(content), 'scheduler_config.json'))
  const schedule = createSchedule(config)
  const options = { ...defaultSampling, ...x0Options, ...sampling, steps: 10, ...overrides }
  return { plan: planSampler(schedule, options), levels: samplerLevels(schedule, options), options }
}

export interface Figures {
  readonly sum: number
  readonly mean: number
}

const requestFrom = (from: Float32Array) => ({
  seed: 0,
  indices: [0, 1, 2, 3],
  size: from.length / batch,
  from,
})

/** Runs a plan with the model of diffusers' tests and returns Σ|x| and mean |x| of the result. */
export async function loop(plan: Plan, from: Float32Array): Promise<Figures> {
  return figuresOf(await runPlan(plan, peerModel, requestFrom(from)))
}

function figuresOf(x: Float32Array): Figures {
  const sum = x.reduce((total, value) => total + Math.abs(value), 0)
  return { sum, mean: sum / x.length }
}

/** Runs a plan like `loop`, but rows add PyTorch's noise of seed 0, as in diffusers' DDPM tests. */
export async function noisyLoop({ rows, ...plan }: Plan, from: Float32Array): Promise<Figures> {
  const normals = torchNormals(0)
  const afterRow = (x: Float32Array, _: Row, index: number) => {
    const { d } = rows[index]!
    if (typeof d !== 'number' || d === 0) return
    const noise = normals(x.length)
    for (let i = 0; i < x.length; i++) x[i]! += d * noise[i]!
  }
  const noiseless = rows.map((row) => ({ ...row, d: 0 }))
  return figuresOf(await runPlan({ ...plan, rows: noiseless }, peerModel, { ...requestFrom(from), afterRow }))
}

/**
 * Runs a plan like the loop in diffusers' tests of its Euler and Heun schedulers.
 *
 * The state of these schedulers is x̂ = x/√ᾱ, and the model's input is √ᾱ·x̂. Diffusers' pipelines pass x̂ to the
 * scheduler. The tests pass √ᾱ·x̂ instead, so each interval starts from a state that is multiplied by √ᾱ.
 *
 * This function applies the factor √ᾱ after the last row of each interval. The model's input must not include the factor.
 * The model is linear, so its output is divided by the factor instead.
 */
export async function scalingLoop({ rows, ...plan }: Plan, from: Float32Array): Promise<Figures> {
  const isCorrector = (index: number) => rows[index]?.alphaBar === rows[index]?.alphaBarNext
  let row = -1
  const denoise = (x: Float32Array, t: number) => {
    row++
    const root = isCorrector(row) ? 1 : Math.sqrt(rows[row]!.alphaBar)
    return peerModel(x, t).map((value) => value / root)
  }
  const afterRow = (x: Float32Array, { alphaBarNext }: Row, index: number) => {
    if (index + 1 === rows.length || isCorrector(index + 1)) return
    for (let i = 0; i < x.length; i++) x[i]! *= Math.sqrt(alphaBarNext)
  }
  const root = Math.sqrt(rows[0]!.alphaBar)
  const start = from.map((value) => value * root)
  return figuresOf(await runPlan({ ...plan, rows }, denoise, { ...requestFrom(start), afterRow }))
}

/** Returns the plan without its first steps, and the sample noised to the first remaining level (DDPM eq. 4). */
export function startAt(
  { levels, options }: ReturnType<typeof planFromConfig>,
  skipped: number,
  sample = peerSample(),
): { plan: Plan; from: Float32Array } {
  const remaining = levels.slice(skipped)
  const from = qSample(remaining[0]!.alphaBar, sample, peerNoise(sample.length / batch))
  return { plan: planLevels(remaining, options), from }
}
