import { pathOf, svg } from '../ui/chart.ts'
import type { Process } from './process.ts'

/** In the units of the SVG's view box. */
const [width, height, margin] = [640, 200, 4]

export interface Curves {
  readonly element: SVGSVGElement
  show(process: Process): void
  /** Marks a timestep. */
  moveTo(t: number): void
}

/** Creates the chart of the weights of image and noise in x_t over all timesteps: √ᾱ_t and √(1−ᾱ_t). */
export function createCurves(): Curves {
  const element = svg('svg', {
    viewBox: `0 0 ${width} ${height}`,
    role: 'img',
    preserveAspectRatio: 'none',
    class: 'curves',
  })
  const title = svg('title', {})
  title.textContent = 'The weights of image and noise at every timestep'
  const [signal, noise] = [svg('path', { class: 'signal' }), svg('path', { class: 'noise' })]
  const marker = svg('line', { class: 'marker', y1: '0', y2: String(height) })
  element.append(title, signal, noise, marker)
  let last = 1
  return {
    element,
    show({ alphaBar, timesteps }) {
      last = timesteps - 1
      const curve = (weights: readonly number[]) =>
        pathOf(
          weights.map((weight, t) => [(t / last) * width, margin + (1 - weight) * (height - 2 * margin)]),
        )
      signal.setAttribute('d', curve(alphaBar.map((bar) => Math.sqrt(bar))))
      noise.setAttribute('d', curve(alphaBar.map((bar) => Math.sqrt(1 - bar))))
      const crossing = alphaBar.findIndex((bar) => bar < 0.5)
      const final = Math.sqrt(alphaBar.at(-1)!).toFixed(3)
      title.textContent = `The weight of the image falls from 1 to ${final}. The weight of the noise rises to 1. They are equal at t = ${crossing}.`
    },
    moveTo(t) {
      const x = String((t / last) * width)
      marker.setAttribute('x1', x)
      marker.setAttribute('x2', x)
    },
  }
}
