import { weightedSum } from '@ddpm/shared/process'
import { byId } from '../../ui/dom.ts'
import { prefersReducedMotion } from '../../ui/preferences.ts'
import { halfWidth, initialNoise, sampleTrajectories } from './diffusion.ts'
import type { Mlp } from './network.ts'
import { meanDistance } from './points.ts'
import { createView } from './view.ts'

export interface Trajectories {
  /** Samples with a network and shows the trajectories over the training points; null shows only the initial noise. */
  show(points: Float32Array, network: Mlp | null): void
}

const samplers = { ddpm: 'DDPM', ddim: 'DDIM', dpmpp: 'DPM-Solver++' } as const

/** Half the width of the figures. Of standard normal points, 97 % lie inside. */
const noiseHalfWidth = 2.5
/** Number of samples. More lines than `lineCount` would hide each other. */
const count = 60
const lineCount = 12
/** Duration of the animation in milliseconds. */
const duration = 1200

/** Connects the figures of the trajectories of three samplers from the same noise, and their controls. */
export function createTrajectories(): Trajectories {
  const stepsSelect = byId('path-steps', HTMLSelectElement)
  const again = byId('path-noise', HTMLButtonElement)
  const summary = byId('path-summary', HTMLElement)
  let points: Float32Array = new Float32Array(0)
  let network: Mlp | null = null
  let seed = 1
  /** Share of the animation that is done. */
  let share = 1
  /** Counts the requests, so that only the latest is shown. */
  let latest = 0

  const figures = Object.entries(samplers).map(([sampler, name]) => {
    const canvas = byId(`path-${sampler}`, HTMLCanvasElement)
    let trajectory = [initialNoise(seed, count)]
    const render = () => {
      view.clear()
      view.square(halfWidth, 'dark-line')
      view.points(points, 'dark-muted', 1, 0.55)
      const visible = truncate(trajectory, share * (trajectory.length - 1))
      view.lines(
        visible.map((positions) => positions.subarray(0, 2 * lineCount)),
        'highlight',
        0.5,
      )
      view.points(visible.at(-1)!, 'dark-text', 1.75)
    }
    const view = createView(canvas, noiseHalfWidth, render)
    return {
      sampler: sampler as keyof typeof samplers,
      render,
      show(next: Float32Array[]) {
        trajectory = next
        const distance = next.length > 1 ? meanDistance(next.at(-1)!, points).toFixed(3) : null
        byId(`path-${sampler}-distance`, HTMLElement).textContent = distance ?? '–'
        canvas.setAttribute(
          'aria-label',
          distance === null
            ? `The initial noise of ${count} samples for ${name}`
            : `${count} samples of ${name} with ${next.length - 1} steps, ${lineCount} of them with their trajectories. They end at a mean distance of ${distance} from the nearest training point.`,
        )
      },
    }
  })
  /** Sets the summary, a live region: the same text must not be announced again. */
  const summarize = (text: string) => {
    if (summary.textContent !== text) summary.textContent = text
  }
  const renderAll = () => figures.forEach(({ render }) => render())

  const animate = (request: number) => {
    const start = performance.now()
    const frame = (now: number) => {
      if (request !== latest) return
      share = Math.min(Math.max((now - start) / duration, 0), 1)
      renderAll()
      if (share < 1) requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  }
  const update = async () => {
    const request = ++latest
    stepsSelect.disabled = again.disabled = network === null
    share = 1
    if (network === null) {
      for (const figure of figures) figure.show([initialNoise(seed, count)])
      summarize('Train the network to see trajectories.')
      return renderAll()
    }
    const steps = Number(stepsSelect.value)
    for (const figure of figures) {
      const trajectory = await sampleTrajectories(network, { sampler: figure.sampler, steps, seed, count })
      if (request !== latest) return
      figure.show(trajectory)
    }
    summarize(`${count} samples of seed ${seed}, ${steps} steps each.`)
    if (prefersReducedMotion()) renderAll()
    else animate(request)
  }
  stepsSelect.addEventListener('change', update)
  again.addEventListener('click', () => {
    seed++
    update()
  })
  return {
    show(newPoints, newNetwork) {
      points = newPoints
      network = newNetwork
      update()
    },
  }
}

/** Returns the trajectory up to a fractional step. Its last positions are interpolated. */
function truncate(trajectory: readonly Float32Array[], step: number): Float32Array[] {
  const whole = Math.floor(step)
  const done = trajectory.slice(0, whole + 1)
  const next = trajectory[whole + 1]
  if (!next) return done
  const share = step - whole
  return [...done, weightedSum([1 - share, share], trajectory[whole]!, next, new Float32Array(next.length))]
}
