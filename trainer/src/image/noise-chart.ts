import { countEvaluations, type Plan } from '@ddpm/shared'
import * as Plot from '@observablehq/plot'
import { chartSvg } from './chart.ts'

/** Returns ᾱ before the first row of a plan and after each row. */
function alphaBarsOf({ rows }: Plan): number[] {
  return [rows[0]!.alphaBar, ...rows.map(({ alphaBarNext }) => alphaBarNext)]
}

/** Standard deviation of the noise in x, √(1−ᾱ). */
function noiseLevel(alphaBar: number): number {
  return Math.sqrt(1 - alphaBar)
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/**
 * Renders the noise level √(1−ᾱ) after each row as bars of text. Long plans show only every n-th row.
 * @param width length of a full bar in characters
 */
export function noiseBars(plan: Plan, width = 60, maxLines = 50): string {
  const alphaBars = alphaBarsOf(plan)
  const stride = Math.ceil(alphaBars.length / maxLines)
  const shown = alphaBars.flatMap((alphaBar, i) =>
    i % stride === 0 || i === alphaBars.length - 1 ? [{ level: noiseLevel(alphaBar), i }] : [],
  )
  const digits = String(alphaBars.length - 1).length
  const lines = shown.map(({ level, i }) => {
    const length = Math.round(level * width * 8)
    const bar = '█'.repeat(Math.floor(length / 8)) + eighths[length % 8]
    return `${String(i).padStart(digits)}  ${level.toFixed(3)}  ${bar}`.trimEnd()
  })
  return ['Noise level √(1−ᾱ) after each row:', ...lines].join('\n')
}

/** Range of log(σ/α) in the chart. */
const maxLogRatio = 6

/** Returns log(σ/α) = −λ, clamped to the range of the chart. */
function logRatio(alphaBar: number): number {
  const value = 0.5 * Math.log((1 - alphaBar) / Math.max(alphaBar, 1e-12))
  return Math.min(Math.max(value, -maxLogRatio), maxLogRatio)
}

/** Renders √(1−ᾱ) and log(σ/α) = −λ over the rows of a plan as SVG. Dots mark the forward passes. */
export function noiseSvg(plan: Plan): string {
  // Plot has one y scale, so −λ is mapped to 0 to 1 and labelled by its own axis.
  const toUnit = (value: number) => 0.5 + value / (2 * maxLogRatio)
  const curves = [
    { colour: '#2a6fdb', y: noiseLevel },
    { colour: '#e23e36', y: (alphaBar: number) => toUnit(logRatio(alphaBar)) },
  ] as const
  const ticks = [0, 0.5, 1]
  return chartSvg({
    width: 720,
    height: 300,
    marginTop: 40,
    marginLeft: 56,
    marginRight: 56,
    x: { label: 'rows' },
    y: { domain: [0, 1] },
    marks: [
      Plot.gridY(ticks),
      Plot.axisX({ tickFormat: 'd' }),
      Plot.axisY(ticks, { anchor: 'left', label: '√(1−ᾱ)', labelArrow: 'none', color: curves[0].colour }),
      Plot.axisY(ticks, {
        anchor: 'right',
        label: 'log(σ/α) = −λ',
        labelArrow: 'none',
        color: curves[1].colour,
        tickFormat: (value: number) => String(maxLogRatio * (2 * value - 1)),
      }),
      Plot.text([`${plan.name}, ${countEvaluations(plan)} forward passes`], { frameAnchor: 'top', dy: -30 }),
      ...curves.flatMap(({ colour, y }) => [
        Plot.lineY(alphaBarsOf(plan).map(y), { stroke: colour, strokeWidth: 2 }),
        Plot.dot(
          plan.rows.flatMap(({ t, alphaBar }, i) => (t === null ? [] : [{ i, level: y(alphaBar) }])),
          { x: 'i', y: 'level', r: 2.5, fill: colour },
        ),
      ]),
    ],
  })
}
