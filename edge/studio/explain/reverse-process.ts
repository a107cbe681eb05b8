import { type Model, startNoise } from 'ddpm-sampler'
import { byId, make, paint } from '../ui/dom.ts'
import { reportErrors } from '../ui/error-banner.ts'
import { toImage } from '../ui/pixels.ts'
import { randomSeed } from '../ui/random-seed.ts'
import { type Process, remainingSteps, type StepWeights, stepBack } from './process.ts'

export interface ReverseProcess {
  /** Sets the noisy image that the process starts from. */
  restartFrom(state: State): void
  /** Shows the model's prediction for the start. Ignored after the first step. */
  showPrediction(x0: ImageData): void
}

interface State {
  /** x_t, [channels, height, width]. */
  readonly x: Float32Array
  /** Current timestep; −1 when the image is finished. */
  readonly t: number
  /** Class for the model; null for none. */
  readonly className: string | null
}

/** Connects the demo of ancestral sampling, one step per click or all steps (DDPM, algorithm 2). */
export function createReverseProcess(model: Model, process: Process): ReverseProcess {
  const { manifest } = model
  const [oneStep, allSteps, restart, fromNoise] = ['one-step', 'denoise', 'restart', 'from-noise'].map((id) =>
    byId(id, HTMLButtonElement),
  ) as [HTMLButtonElement, HTMLButtonElement, HTMLButtonElement, HTMLButtonElement]
  const trajectory = byId('trajectory', HTMLOListElement)
  let origin: State | null = null
  let current: State | null = null
  /** Steps taken. Each step uses its own noise. */
  let taken = 0
  let isRunning = false

  const render = (x0: Float32Array | null) => {
    if (!current) return
    const { x, t } = current
    paint(byId('reverse-x', HTMLCanvasElement), toImage(x, manifest.shape))
    if (x0) paint(byId('reverse-x0', HTMLCanvasElement), toImage(x0, manifest.shape))
    byId('reverse-t', HTMLOutputElement).value = t < 0 ? 'the end' : `t = ${t}`
    if (t >= 0) showWeights(process.step[t]!)
    oneStep.disabled = isRunning || t < 0
    allSteps.disabled = t < 0
    allSteps.textContent = isRunning ? 'Stop' : 'All steps'
    restart.disabled = fromNoise.disabled = isRunning
  }
  const begin = (state: State) => {
    current = state
    taken = 0
    trajectory.replaceChildren()
    render(null)
  }
  /** @param target timestep after the step; −1 for the finished image */
  const step = async (weights: StepWeights, target: number) => {
    const { x, t, className } = current!
    const { x0 } = await model.predict({ x, t, ...(className !== null && { class: className }) })
    taken++
    const z = startNoise(manifest, 2, taken)
    current = { x: stepBack(weights, { x0, xt: x, z }), t: target, className }
    render(x0)
    addToTrajectory(trajectory, toImage(current.x, manifest.shape), target)
  }

  oneStep.addEventListener('click', () => reportErrors(() => step(process.step[current!.t]!, current!.t - 1)))
  allSteps.addEventListener('click', () =>
    reportErrors(async () => {
      if (isRunning) {
        isRunning = false
        return
      }
      isRunning = true
      try {
        for (const { weights, target } of remainingSteps(process, current!.t)) {
          if (!isRunning) break
          await step(weights, target)
        }
      } finally {
        isRunning = false
        render(null)
      }
    }),
  )
  restart.addEventListener('click', () => origin && begin(origin))
  fromNoise.addEventListener('click', () => {
    const x = startNoise(manifest, randomSeed(), 0)
    begin({ x, t: process.timesteps - 1, className: origin?.className ?? null })
  })

  return {
    restartFrom(state) {
      origin = state
      if (!isRunning) begin(state)
    },
    showPrediction(x0) {
      if (taken === 0 && current === origin) paint(byId('reverse-x0', HTMLCanvasElement), x0)
    },
  }
}

/** Shows the weights of the next step as bars. */
function showWeights({ x0, xt, sigma }: StepWeights): void {
  const weights = [
    ['weight of the predicted image', x0],
    ['weight of the current image', xt],
    ['weight of the new noise', sigma],
  ] as const
  byId('weights', HTMLElement).replaceChildren(
    ...weights.flatMap(([name, value]) => {
      const meter = make('meter', { min: '0', max: '1', value: String(value), 'aria-label': name })
      return [make('dt', {}, name), make('dd', {}, meter, value.toFixed(4))]
    }),
  )
}

const maxTrajectoryLength = 12

/** Adds an image to the list of the latest steps. */
function addToTrajectory(trajectory: HTMLOListElement, image: ImageData, t: number): void {
  const label = t < 0 ? 'The finished image' : `The image at t = ${t}`
  const canvas = make('canvas', { role: 'img', 'aria-label': label })
  paint(canvas, image)
  trajectory.append(make('li', {}, canvas, t < 0 ? 'end' : String(t)))
  while (trajectory.children.length > maxTrajectoryLength) trajectory.firstElementChild!.remove()
}
