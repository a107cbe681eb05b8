import {
  createSchedule,
  defaultSampling,
  type Level,
  type Plan,
  parseSchedulerConfig,
  planLevels,
  planSampler,
  type Row,
  readScheduler,
  runPlan,
  type SamplerOptions,
  samplerLevels,
} from '@ddpm/shared'
import { torchNormals } from './torch-random.ts'

/**
 * What diffusers' scheduler tests start from: arange over (3, 8, 8, 4), scaled, batch last moved first.
 * @param size numbers per picture: 3·8 in their tests of one dimension
 */
export function peerSample(size = planeSize): Float32Array {
  return peerOrder(size, (i) => i)
}

/** Their noise: the same, counted down. */
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

/** Their network. */
export const peerModel = (x: Float32Array, t: number) => x.map((value) => (value * t) / (t + 1))

/** A `scheduler_config.json` block as it would be read from a file, ready to plan with. */
export function fromBlock(
  block: object,
  given: Partial<SamplerOptions>,
): { plan: Plan; levels: Level[]; options: SamplerOptions } {
  const {
    schedule: config,
    sampling,
    ...reading
  } = readScheduler(parseSchedulerConfig(JSON.stringify(block), 'scheduler_config.json'))
  const schedule = createSchedule(config)
  const options = { ...defaultSampling, ...reading, ...sampling, steps: 10, ...given }
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

/** Σ|x| and mean |x| after the loop. */
export async function loop(plan: Plan, from: Float32Array): Promise<Figures> {
  return figuresOf(await runPlan(plan, peerModel, requestFrom(from)))
}

function figuresOf(x: Float32Array): Figures {
  const sum = x.reduce((so, value) => so + Math.abs(value), 0)
  return { sum, mean: sum / x.length }
}

/** The same with PyTorch's noise of seed 0 in every row that wants any, as their DDPM tests have it. */
export async function noisyLoop({ rows, ...plan }: Plan, from: Float32Array): Promise<Figures> {
  const draw = torchNormals(0)
  const afterRow = (x: Float32Array, _: Row, index: number) => {
    const { d } = rows[index]!
    if (typeof d !== 'number' || d === 0) return
    const noise = draw(x.length)
    for (let i = 0; i < x.length; i++) x[i]! += d * noise[i]!
  }
  const quiet = rows.map((row) => ({ ...row, d: 0 }))
  return figuresOf(await runPlan({ ...plan, rows: quiet }, peerModel, { ...requestFrom(from), afterRow }))
}

/**
 * The loop of their Euler and Heun tests, whose states x̂ stand beside a picture of scale 1, x = √ᾱ·x̂. It hands the
 * state that was scaled for the network, √ᾱ·x̂, to the step as well (their pipelines do not), so that every interval
 * begins by a factor √ᾱ smaller: done here after each interval's last row, and undone in what the network sees.
 */
export async function scalingLoop({ rows, ...plan }: Plan, from: Float32Array): Promise<Figures> {
  const corrects = (index: number) => rows[index]?.alphaBar === rows[index]?.alphaBarNext
  let row = -1
  const denoise = (x: Float32Array, t: number) => {
    row++
    const root = corrects(row) ? 1 : Math.sqrt(rows[row]!.alphaBar)
    return peerModel(x, t).map((value) => value / root)
  }
  const afterRow = (x: Float32Array, { alphaBarNext }: Row, index: number) => {
    if (index + 1 === rows.length || corrects(index + 1)) return
    for (let i = 0; i < x.length; i++) x[i]! *= Math.sqrt(alphaBarNext)
  }
  const root = Math.sqrt(rows[0]!.alphaBar)
  const start = from.map((value) => value * root)
  return figuresOf(await runPlan({ ...plan, rows }, denoise, { ...requestFrom(start), afterRow }))
}

/** The plan after some steps, and their sample mixed with their noise as its first level has it. */
export function begun(
  { levels, options }: ReturnType<typeof fromBlock>,
  skipped: number,
  sample = peerSample(),
): { plan: Plan; from: Float32Array } {
  const rest = levels.slice(skipped)
  const [signal, deviation] = [Math.sqrt(rest[0]!.alphaBar), Math.sqrt(1 - rest[0]!.alphaBar)]
  const noise = peerNoise(sample.length / batch)
  const from = sample.map((value, i) => signal * value + deviation * noise[i]!)
  return { plan: planLevels(rest, options), from }
}
