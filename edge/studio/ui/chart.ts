import type { Plan } from 'ddpm-sampler'

/**
 * A chart of the noise levels √(1−ᾱ) that a sampler visits. It is plain SVG: a charting library would be larger than
 * the rest of the page.
 */
export interface NoiseChart {
  readonly element: SVGSVGElement
  /** Shows the levels of a plan. Rows that are skipped because generation starts from an image are pale. */
  show(plan: Plan, strength?: number): void
  /** Marks the current position, as the share of the steps that are done. */
  moveTo(share: number): void
}

/** In the units of the SVG's view box. */
const [width, height, margin] = [320, 96, 6]

/** Creates an empty chart: noise level over steps, with one dot per row of the plan. */
export function createChart(): NoiseChart {
  const element = svg('svg', {
    viewBox: `0 0 ${width} ${height}`,
    role: 'img',
    preserveAspectRatio: 'none',
    class: 'chart',
  })
  const title = svg('title', {})
  const line = svg('path', { class: 'curve' })
  const done = svg('path', { class: 'curve done' })
  const dots = svg('g', { class: 'dots' })
  const marker = svg('line', { class: 'marker', y1: '0', y2: String(height) })
  element.append(title, line, done, dots, marker)
  let points: (readonly [number, number])[] = []

  const moveTo = (share: number) => {
    const x = xAt(share)
    marker.setAttribute('x1', String(x))
    marker.setAttribute('x2', String(x))
    done.setAttribute('d', pathOf(points.filter(([px]) => px <= x + 0.01)))
  }
  return {
    element,
    show(plan, strength = 1) {
      const levels = noiseLevels(plan)
      points = levels.map((level, i) => [
        xAt(i / (levels.length - 1)),
        margin + (1 - level) * (height - 2 * margin),
      ])
      title.textContent = describe(plan, levels)
      line.setAttribute('d', pathOf(points))
      const skipped = plan.rows.length - Math.floor(plan.rows.length * strength)
      // More than about 100 dots would merge into a bar.
      const stride = Math.ceil(points.length / 100)
      // Zero-length lines with round caps stay round when the chart is stretched; circles would not.
      dots.replaceChildren(
        ...points.flatMap(([x, y], i) =>
          i % stride === 0
            ? [svg('path', { d: `M${x} ${y}h0`, ...(i < skipped && { class: 'skipped' }) })]
            : [],
        ),
      )
      moveTo(0)
    },
    moveTo,
  }
}

/** √(1−ᾱ) before each row and after the last one. */
function noiseLevels({ rows }: Plan): number[] {
  return [...rows.map(({ alphaBar }) => alphaBar), rows.at(-1)!.alphaBarNext].map((bar) => Math.sqrt(1 - bar))
}

function describe({ name, rows }: Plan, levels: readonly number[]): string {
  const middle = levels[Math.floor((levels.length - 1) / 2)]!
  const [start, half, end] = [levels[0]!, middle, levels.at(-1)!].map((level) => level.toFixed(2))
  return `Noise level over the ${rows.length} steps of ${name}: ${start} at the start, ${half} in the middle, ${end} at the end.`
}

function xAt(share: number): number {
  return margin + share * (width - 2 * margin)
}

/** Returns the `d` attribute of a path that connects the points. */
export function pathOf(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('')
}

/** Creates an SVG element with attributes. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>>,
): SVGElementTagNameMap[K] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}
