import { qSample } from '@ddpm/shared/process'
import { byId } from '../../ui/dom.ts'
import { formatPercent } from '../../ui/format.ts'
import { halfWidth, initialNoise, predictNoise, schedule } from './diffusion.ts'
import type { Mlp } from './network.ts'
import { createView } from './view.ts'

/** Half the width of the figure: the drawing area and a margin for noise. */
const fieldHalfWidth = 2

export interface ScoreField {
  /** Shows points, diffused to the level of the slider, and the score of the network; null shows no arrows. */
  show(points: Float32Array, network: Mlp | null): void
}

/** Number of arrows in each direction. */
const gridSize = 20
const cell = (2 * fieldHalfWidth) / gridSize
/** Centres of the cells, [gridSize², 2]. */
const grid = Float32Array.from({ length: 2 * gridSize ** 2 }, (_, i) => {
  const index = Math.floor(i / 2)
  const position = i % 2 === 0 ? index % gridSize : Math.floor(index / gridSize)
  return (position + 0.5) * cell - fieldHalfWidth
})

/** Connects the figure of the score ∇ log p(x_t), with its slider for the timestep. */
export function createScoreField(): ScoreField {
  const canvas = byId('field', HTMLCanvasElement)
  const slider = byId('field-t', HTMLInputElement)
  let points: Float32Array = new Float32Array(0)
  let network: Mlp | null = null

  const render = () => {
    const t = slider.valueAsNumber
    const alphaBar = schedule.alphasCumprod[t]!
    const noise = formatPercent(Math.sqrt(1 - alphaBar))
    view.clear()
    view.square(halfWidth, 'dark-line')
    view.points(qSample(alphaBar, points, initialNoise(1, points.length / 2)), 'dark-muted', 1.25, 0.7)
    if (network) view.arrows(...scoreArrows(network, t), 'highlight')
    byId('field-level', HTMLElement).textContent = `t = ${t}, ${noise} noise`
    slider.setAttribute('aria-valuetext', `t = ${t}, ${noise} noise`)
    const arrows = network ? 'arrows of the score' : 'no arrows, because the network is not trained'
    canvas.setAttribute('aria-label', `The training points with ${noise} noise, and ${arrows}`)
  }
  const view = createView(canvas, fieldHalfWidth, render)
  slider.addEventListener('input', render)
  return {
    show(newPoints, newNetwork) {
      points = newPoints
      network = newNetwork
      render()
    },
  }
}

/**
 * Returns arrows of the score on the grid. The score is −ε̂/√(1−ᾱ_t). Its length grows without limit as the noise
 * vanishes, so that the arrows show −ε̂: the score in units of 1/√(1−ᾱ_t). They are at most as long as a cell.
 */
function scoreArrows(network: Mlp, t: number): [tails: Float32Array, vectors: Float32Array] {
  const noise = predictNoise(network, grid, t)
  const vectors = new Float32Array(noise.length)
  for (let i = 0; i < noise.length; i += 2) {
    const length = Math.hypot(noise[i]!, noise[i + 1]!)
    const scale = (-0.95 * cell * Math.tanh(length)) / Math.max(length, 1e-9)
    vectors[i] = scale * noise[i]!
    vectors[i + 1] = scale * noise[i + 1]!
  }
  return [grid.map((value, i) => value - vectors[i]! / 2), vectors]
}
