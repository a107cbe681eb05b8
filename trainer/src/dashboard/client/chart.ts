import { make } from '@ddpm/shared/dom'
import uPlot from 'uplot'
import { formatNumber, formatStep } from './format.ts'

export interface Curve {
  readonly label: string
  /** Name of a CSS custom property. */
  readonly colour: string
  readonly width: number
  /** Whether to show a dot at every value. */
  readonly dots?: boolean
}

export interface Chart {
  readonly element: HTMLElement
  /** Shows new data: an array of steps, followed by an array of values for each curve. */
  show(data: uPlot.AlignedData): void
  /** Switches the y axis between logarithmic and linear scale. */
  setLog(log: boolean): void
}

const height = 220

/** Possible distances between ticks of the x axis: 1, 2 and 5 times a power of ten. They are integers, as steps are. */
const stepIncrements = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat()

/** Returns the value of a CSS custom property in the current theme (light or dark). */
function cssColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

/**
 * Creates a card with a title, a legend with the values under the cursor (or the latest values), and a uPlot chart.
 */
export function createChart(title: string, curves: readonly Curve[], { log = false, wide = false }): Chart {
  const values = curves.map(() => make('b', {}, '–'))
  const legend = curves.map((curve, i) =>
    make(
      'span',
      { class: curve.label === '' ? 'only' : 'key', style: `--colour: var(${curve.colour})` },
      `${curve.label} `,
      values[i]!,
    ),
  )
  const hint = make('span', { class: 'hint' })
  const container = make('div')
  const head = make('header', {}, make('h2', {}, title), ...legend, hint)
  const element = make(
    'section',
    { class: wide ? 'chart wide' : 'chart', 'aria-label': title },
    head,
    container,
  )
  let data: uPlot.AlignedData = [[], ...curves.map(() => [])]
  let plot: uPlot | null = null
  let isLog = log

  function updateLegend(index: number | null | undefined): void {
    hint.textContent = index === null || index === undefined ? '' : `step ${data[0][index]}`
    curves.forEach((_, i) => {
      const column = data[i + 1]!
      let at = index ?? column.length - 1
      // If a curve has no value at this step, show its previous value.
      while (at > 0 && column[at] === null) at -= 1
      values[i]!.textContent = formatNumber(column[at])
    })
  }

  function createPlot(): void {
    plot?.destroy()
    const axis: uPlot.Axis = {
      stroke: () => cssColour('--muted'),
      grid: { stroke: () => cssColour('--grid'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    }
    const options: uPlot.Options = {
      width: Math.max(120, container.clientWidth),
      height,
      legend: { show: false },
      cursor: { sync: { key: 'steps' }, points: { size: 7 }, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
      axes: [
        {
          ...axis,
          size: 30,
          space: 44,
          incrs: stepIncrements,
          values: (_, splits) => splits.map(formatStep),
        },
        {
          ...axis,
          size: 52,
          values: (_, splits) => splits.map((value) => (value === null ? '' : formatNumber(value))),
        },
      ],
      series: [
        {},
        ...curves.map(
          ({ colour: name, width, dots = false }): uPlot.Series => ({
            stroke: () => cssColour(name),
            width,
            spanGaps: true,
            points: dots ? { show: true, size: 6, fill: () => cssColour(name) } : { show: false },
          }),
        ),
      ],
      hooks: { setCursor: [({ cursor }) => updateLegend(cursor.idx)] },
    }
    plot = new uPlot(options, data, container)
  }

  new ResizeObserver(() => {
    if (!plot) createPlot()
    else if (plot.width !== container.clientWidth) plot.setSize({ width: container.clientWidth, height })
  }).observe(container)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => plot?.redraw(false, true))

  return {
    element,
    show(next) {
      const before = data[0]
      const { min, max } = plot?.scales['x'] ?? {}
      // If the user has zoomed in, the visible range must not change.
      const zoomed = min !== undefined && max !== undefined && (min! > before[0]! || max! < before.at(-1)!)
      data = next
      if (zoomed) {
        plot?.setData(data, false)
        plot?.redraw()
      } else plot?.setData(data)
      updateLegend(plot?.cursor.idx)
    },
    setLog(next) {
      isLog = next
      createPlot()
    },
  }
}
