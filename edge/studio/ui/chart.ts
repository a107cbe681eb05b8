import type { Plan } from 'ddpm-sampler'

/** A drawing of lines and dots, in units of its own box. */
export interface NoiseChart {
  readonly element: SVGSVGElement
  /** Shows the levels of a table; those that a picture to start from leaves out are pale. */
  show(plan: Plan, strength?: number): void
  /** Where the drawing is: so many of all steps done. */
  at(share: number): void
}

const [width, height, margin] = [320, 96, 6]

/**
 * The noise levels √(1−ᾱ) that a sampler visits, from pure noise to the picture: a dot for every row of its table, at the
 * place in the drawing where it comes.
 */
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
  const head = svg('line', { class: 'head', y1: '0', y2: String(height) })
  element.append(title, line, done, dots, head)
  let points: (readonly [number, number])[] = []

  const at = (share: number) => {
    const x = place(share)
    head.setAttribute('x1', String(x))
    head.setAttribute('x2', String(x))
    done.setAttribute('d', pathOf(points.filter(([px]) => px <= x + 0.01)))
  }
  return {
    element,
    show(plan, strength = 1) {
      const levels = levelsOf(plan)
      points = levels.map((level, i) => [
        place(i / (levels.length - 1)),
        margin + (1 - level) * (height - 2 * margin),
      ])
      title.textContent = `Noise left at each of the ${plan.rows.length} rows of ${plan.name}: ${levels[0]!.toFixed(2)} at first, ${middle(levels).toFixed(2)} half way, ${levels.at(-1)!.toFixed(2)} at the end.`
      line.setAttribute('d', pathOf(points))
      const skipped = plan.rows.length - Math.floor(plan.rows.length * strength)
      // Of very many, dots would be a bar. Lines of no length are round however the chart is stretched.
      const every = Math.ceil(points.length / 100)
      dots.replaceChildren(
        ...points.flatMap(([x, y], i) =>
          i % every === 0
            ? [svg('path', { d: `M${x} ${y}h0`, ...(i < skipped && { class: 'skipped' }) })]
            : [],
        ),
      )
      at(0)
    },
    at,
  }
}

/** √(1−ᾱ) before each row and after the last. */
function levelsOf({ rows }: Plan): number[] {
  return [...rows.map(({ alphaBar }) => alphaBar), rows.at(-1)!.alphaBarNext].map((bar) => Math.sqrt(1 - bar))
}

function middle(levels: readonly number[]): number {
  return levels[Math.floor((levels.length - 1) / 2)]!
}

function place(share: number): number {
  return margin + share * (width - 2 * margin)
}

export function pathOf(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('')
}

/** A new SVG element. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>>,
): SVGElementTagNameMap[K] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}
