import { pathOf, svg } from '../ui/chart.ts'
import type { Process } from './process.ts'

const [width, height] = [640, 200]

export interface Curves {
  readonly element: SVGSVGElement
  show(process: Process): void
  at(t: number): void
}

/** How much of x_t is picture, √ᾱ_t, and how much is noise, √(1−ᾱ_t), over all t. */
export function createCurves(): Curves {
  const element = svg('svg', {
    viewBox: `0 0 ${width} ${height}`,
    role: 'img',
    preserveAspectRatio: 'none',
    class: 'curves',
  })
  const title = svg('title', {})
  const [image, noise] = [svg('path', { class: 'picture' }), svg('path', { class: 'noise' })]
  const head = svg('line', { class: 'head', y1: '0', y2: String(height) })
  element.append(title, image, noise, head)
  let last = 1
  return {
    element,
    show({ alphaBar, timesteps }) {
      last = timesteps - 1
      const path = (f: (bar: number) => number) =>
        pathOf(alphaBar.map((bar, t) => [(t / last) * width, 4 + (1 - f(bar)) * (height - 8)]))
      image.setAttribute(
        'd',
        path((bar) => Math.sqrt(bar)),
      )
      noise.setAttribute(
        'd',
        path((bar) => Math.sqrt(1 - bar)),
      )
      const half = alphaBar.findIndex((bar) => bar < 0.5)
      title.textContent = `The weight of the picture falls from 1 to ${Math.sqrt(alphaBar.at(-1)!).toFixed(3)}, that of the noise rises to 1; they are equal at t = ${half}.`
    },
    at(t) {
      const x = String((t / last) * width)
      head.setAttribute('x1', x)
      head.setAttribute('x2', x)
    },
  }
}
