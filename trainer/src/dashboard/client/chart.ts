import { make } from '@ddpm/shared/dom'
import uPlot from 'uplot'
import { short, steps } from './words.ts'

export interface Curve {
  readonly label: string
  /** The name of a custom property of the style sheet. */
  readonly colour: string
  readonly width: number
  /** Points instead of a line where they are few. */
  readonly dots?: boolean
}

export interface Chart {
  readonly element: HTMLElement
  /** The steps, then the values of each curve. */
  show(data: uPlot.AlignedData): void
  setLog(log: boolean): void
}

const height = 220

/** Steps are whole: 1, 2 and 5 times the powers of ten. */
const wholeIncrements = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat()

/** A custom property of the style sheet, as it is now: light and dark have their own. */
function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

/** A card with a title, a key that says the values under the cursor or the latest, and curves over the steps. */
export function createChart(title: string, curves: readonly Curve[], { log = false, wide = false }): Chart {
  const values = curves.map(() => make('b', {}, '–'))
  const keys = curves.map((curve, i) =>
    make(
      'span',
      { class: curve.label === '' ? 'only' : 'key', style: `--colour: var(${curve.colour})` },
      `${curve.label} `,
      values[i]!,
    ),
  )
  const hint = make('span', { class: 'hint' })
  const plot = make('div')
  const head = make('header', {}, make('h2', {}, title), ...keys, hint)
  const element = make('section', { class: wide ? 'chart wide' : 'chart', 'aria-label': title }, head, plot)
  let data: uPlot.AlignedData = [[], ...curves.map(() => [])]
  let drawn: uPlot | null = null
  let isLog = log

  function readOut(index: number | null | undefined): void {
    hint.textContent = index === null || index === undefined ? '' : `step ${data[0][index]}`
    curves.forEach((_, i) => {
      const column = data[i + 1]!
      let at = index ?? column.length - 1
      // Where a curve has no value at a step, its last one before counts.
      while (at > 0 && column[at] === null) at -= 1
      values[i]!.textContent = short(column[at])
    })
  }

  function draw(): void {
    drawn?.destroy()
    const axis: uPlot.Axis = {
      stroke: () => colour('--soft'),
      grid: { stroke: () => colour('--grid'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    }
    const options: uPlot.Options = {
      width: Math.max(120, plot.clientWidth),
      height,
      legend: { show: false },
      cursor: { sync: { key: 'steps' }, points: { size: 7 }, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
      axes: [
        {
          ...axis,
          size: 30,
          space: 44,
          incrs: wholeIncrements,
          values: (_, splits) => splits.map(steps),
        },
        {
          ...axis,
          size: 52,
          values: (_, splits) => splits.map((value) => (value === null ? '' : short(value))),
        },
      ],
      series: [
        {},
        ...curves.map(
          ({ colour: name, width, dots = false }): uPlot.Series => ({
            stroke: () => colour(name),
            width,
            spanGaps: true,
            points: dots ? { show: true, size: 6, fill: () => colour(name) } : { show: false },
          }),
        ),
      ],
      hooks: { setCursor: [({ cursor }) => readOut(cursor.idx)] },
    }
    drawn = new uPlot(options, data, plot)
  }

  new ResizeObserver(() => {
    if (!drawn) draw()
    else if (drawn.width !== plot.clientWidth) drawn.setSize({ width: plot.clientWidth, height })
  }).observe(plot)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => drawn?.redraw(false, true))

  return {
    element,
    show(next) {
      const before = data[0]
      const { min, max } = drawn?.scales['x'] ?? {}
      // What was zoomed into stays in view.
      const zoomed = min !== undefined && max !== undefined && (min! > before[0]! || max! < before.at(-1)!)
      data = next
      if (zoomed) {
        drawn?.setData(data, false)
        drawn?.redraw()
      } else drawn?.setData(data)
      readOut(drawn?.cursor.idx)
    },
    setLog(next) {
      isLog = next
      draw()
    },
  }
}
