import { byId, make } from '@ddpm/shared/dom'
import type uPlot from 'uplot'
import type { Quantity, Update } from '../protocol.ts'
import { createChart } from './chart.ts'

/** Computes the exponential moving average with bias correction (Kingma & Ba 2015, section 3). */
export function smooth(values: readonly number[], decay: number): number[] {
  let average = 0
  let weight = 0
  return values.map((value) => {
    average = decay * average + (1 - decay) * value
    weight = decay * weight + (1 - decay)
    return average / weight
  })
}

/** Returns the value of each step, or null for steps without a value. */
function align(steps: readonly number[], values: ReadonlyMap<number, number>): (number | null)[] {
  return steps.map((step) => values.get(step) ?? null)
}

type Points = Pick<Update, 'steps' | 'values' | 'validation' | 'stride'>

/** Creates the charts. @returns a function that replaces the points in all charts */
export function createCurves(): (points: Points) => void {
  const decay = make('input', { type: 'range', min: '0', max: '0.99', step: '0.01', value: '0.9' })
  const log = make('input', { type: 'checkbox', checked: '' })
  const loss = createChart(
    'Loss',
    [
      { label: 'raw', colour: '--first-faint', width: 1 },
      { label: 'smoothed', colour: '--first', width: 2 },
      { label: 'validation', colour: '--second', width: 2, dots: true },
    ],
    { log: true, wide: true },
  )
  loss.element
    .querySelector('header')!
    .append(
      make(
        'span',
        { class: 'options' },
        make('label', {}, 'smoothing', decay),
        make('label', {}, log, 'log scale'),
      ),
    )
  const single = (title: string, name: Quantity, options: { log?: boolean } = {}) => ({
    name,
    chart: createChart(title, [{ label: '', colour: '--first', width: 1.5 }], options),
  })
  const others = [
    single('Gradient norm', 'gradientNorm', { log: true }),
    single('Learning rate', 'learningRate'),
    single('Images/s', 'imagesPerSecond'),
  ]
  byId('charts', HTMLElement).append(loss.element, ...others.map(({ chart }) => chart.element))

  const note = make('p', { id: 'note' })
  byId('charts', HTMLElement).append(note)

  let shown: Points = {
    stride: 1,
    steps: [],
    values: { loss: [], gradientNorm: [], learningRate: [], imagesPerSecond: [] },
    validation: [],
  }

  function showLoss(): void {
    // If a point is the mean of several steps, a validation loss may belong to a step without a point.
    const validation = new Map(shown.validation.map(({ step, loss }) => [step, loss]))
    const training = new Map(shown.steps.map((step, i) => [step, shown.values.loss[i]!]))
    const smoothed = smooth(shown.values.loss, Number(decay.value))
    const average = new Map(shown.steps.map((step, i) => [step, smoothed[i]!]))
    const steps = [...new Set([...training.keys(), ...validation.keys()])].sort((a, b) => a - b)
    loss.show([steps, align(steps, training), align(steps, average), align(steps, validation)])
  }

  decay.addEventListener('input', showLoss)
  log.addEventListener('change', () => loss.setLog(log.checked))
  return (points) => {
    shown = points
    note.textContent =
      (points.stride > 1 ? `Each point is the mean of ${points.stride} steps. ` : '') +
      'Drag over a chart to zoom in. Double-click to reset the zoom.'
    showLoss()
    for (const { name, chart } of others) {
      const column = name === 'gradientNorm' ? positive(points.values[name]) : [...points.values[name]]
      chart.show([[...points.steps], column] satisfies uPlot.AlignedData)
    }
  }
}

/** Replaces zeros and negative values by null, because a logarithmic scale cannot show them. */
function positive(values: readonly number[]): (number | null)[] {
  return values.map((value) => (value > 0 ? value : null))
}
