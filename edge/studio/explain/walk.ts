import { type Manifest, type Model, planFor, startNoise } from 'ddpm-sampler'
import { byId, make, paint } from '../ui/dom.ts'
import { pixelsOf } from '../ui/pixels.ts'
import { type Process, type StepWeights, stepBack } from './process.ts'

export interface Walk {
  /** Where it starts when told to: x_t above. */
  from(place: Place): void
  /** What the network sees in x_t above; shown until the first step. */
  foreseen(image: ImageData): void
}

interface Place {
  readonly x: Float32Array
  readonly t: number
  /** The class that the network is told; null for none. */
  readonly className: string | null
}

/** A walk back, step by step, as the visitor asks for steps: DDPM, algorithm 2. */
export function createWalk(
  model: Model,
  process: Process,
  attempt: (action: () => Promise<void>) => Promise<void>,
): Walk {
  const { manifest } = model
  const [one, all, again, noise] = ['step-one', 'walk', 'again', 'from-noise'].map((id) =>
    byId(id, HTMLButtonElement),
  ) as [HTMLButtonElement, HTMLButtonElement, HTMLButtonElement, HTMLButtonElement]
  const trail = byId('trail', HTMLOListElement)
  let origin: Place | null = null
  /** −1 when the picture is done. */
  let at: Place | null = null
  /** Steps taken: the noise of each is its own. */
  let taken = 0
  let walking = false

  const render = (x0: Float32Array | null) => {
    if (!at) return
    paint(byId('walk-x', HTMLCanvasElement), pixelsOf(at.x, manifest.shape))
    if (x0) paint(byId('walk-x0', HTMLCanvasElement), pixelsOf(x0, manifest.shape))
    byId('walk-t', HTMLOutputElement).value = at.t < 0 ? 'its end' : `t = ${at.t}`
    if (at.t >= 0) showWeights(process.step[at.t]!)
    one.disabled = walking || at.t < 0
    all.disabled = at.t < 0
    all.textContent = walking ? 'Stop' : 'All the way'
    again.disabled = noise.disabled = walking
  }
  const begin = (place: Place) => {
    at = place
    taken = 0
    trail.replaceChildren()
    render(null)
  }
  /** From t to a timestep below it, or to the picture. */
  const step = async (weights: StepWeights, to: number) => {
    const { x, t, className } = at!
    const { x0 } = await model.predict({ x, t, ...(className !== null && { class: className }) })
    taken++
    at = { x: stepBack(weights, { x0, xt: x, z: startNoise(manifest, 2, taken) }), t: to, className }
    render(x0)
    leaveTrace(trail, pixelsOf(at.x, manifest.shape), to)
  }

  one.addEventListener('click', () => attempt(() => step(process.step[at!.t]!, at!.t - 1)))
  all.addEventListener('click', () =>
    attempt(async () => {
      if (walking) {
        walking = false
        return
      }
      walking = true
      try {
        for (const { weights, to } of wayFrom(manifest, at!.t)) {
          if (!walking) break
          await step(weights, to)
        }
      } finally {
        walking = false
        render(null)
      }
    }),
  )
  again.addEventListener('click', () => origin && begin(origin))
  noise.addEventListener('click', () => {
    const x = startNoise(manifest, Math.floor(Math.random() * 1e6), 0)
    begin({ x, t: process.timesteps - 1, className: origin?.className ?? null })
  })

  return {
    from(place) {
      origin = place
      if (!walking) begin(place)
    },
    foreseen(image) {
      if (taken === 0 && at === origin) paint(byId('walk-x0', HTMLCanvasElement), image)
    },
  }
}

const mostSteps = 50

/** At most 50 steps from t to the picture, each over several timesteps at once. */
function wayFrom(manifest: Manifest, t: number): { weights: StepWeights; to: number }[] {
  const timesteps = manifest.scheduler.num_train_timesteps
  const { rows } = planFor(manifest, {
    sampler: 'ddpm',
    steps: Math.min(mostSteps, timesteps),
    spacing: 'trailing',
    varianceType: 'fixedSmall',
  })
  const below = rows.filter((row) => row.t! <= t)
  return below.map(({ a, b, d }, i) => ({
    weights: { x0: b, xt: a, sigma: d as number },
    to: below[i + 1]?.t ?? -1,
  }))
}

/** The numbers of the step that comes next, as bars. */
function showWeights({ x0, xt, sigma }: StepWeights): void {
  const rows = [
    ['of the foreseen picture', x0],
    ['of what is there', xt],
    ['of fresh noise', sigma],
  ] as const
  byId('weights', HTMLElement).replaceChildren(
    ...rows.flatMap(([name, value]) => [
      make('dt', {}, name),
      make(
        'dd',
        {},
        make('meter', { min: '0', max: '1', value: String(value), 'aria-label': name }),
        value.toFixed(4),
      ),
    ]),
  )
}

const longestTrail = 12

/** The latest pictures of the way. */
function leaveTrace(trail: HTMLOListElement, image: ImageData, t: number): void {
  const canvas = make('canvas', { role: 'img', 'aria-label': t < 0 ? 'The end' : `At t = ${t}` })
  paint(canvas, image)
  trail.append(make('li', {}, canvas, t < 0 ? 'end' : String(t)))
  while (trail.children.length > longestTrail) trail.firstElementChild!.remove()
}
