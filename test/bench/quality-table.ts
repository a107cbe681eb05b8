import * as Plot from '@observablehq/plot'
import { chartSvg } from '../../trainer/src/chart.ts'
import { type Scores, scoreNames } from '../../trainer/src/quality/compare.ts'
import { formatScore } from '../../trainer/src/quality/report.ts'

/** A cell of the table. */
export interface Measured {
  readonly sampler: string
  readonly steps: number
  /** Of the network per picture: more than steps where a sampler asks twice. */
  readonly evaluations: number
  readonly scores: Scores
}

/** The table in Markdown, real pictures against real ones last. */
export function qualityTable(measured: readonly Measured[], floor: Scores, title: string): string {
  const order = [...new Set(measured.map(({ sampler }) => sampler))]
  const sorted = measured.toSorted(
    (a, b) => order.indexOf(a.sampler) - order.indexOf(b.sampler) || a.steps - b.steps,
  )
  const figures = (scores: Scores) => scoreNames.map((name) => formatScore(scores, name))
  const rows = [
    ['sampler', 'steps', 'evaluations', 'FID', 'KID', ...scoreNames.slice(2)],
    ...sorted.map(({ sampler, steps, evaluations, scores }) => [
      sampler,
      String(steps),
      String(evaluations),
      ...figures(scores),
    ]),
    ['real pictures', '', '', ...figures(floor)],
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map((row) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`)
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return `${title}\n\n${[lines[0], rule, ...lines.slice(1)].join('\n')}\n`
}

/** FID over evaluations of the network, a line for each sampler, and what real pictures have. */
export function qualityChart(measured: readonly Measured[], floor: Scores): string {
  const points = measured.map(({ sampler, evaluations, scores: { fid } }) => ({
    sampler,
    evaluations,
    fid: fid.value,
    low: Math.max(fid.value - (fid.halfWidth ?? 0), 1e-3),
    high: fid.value + (fid.halfWidth ?? 0),
  }))
  const line = { x: 'evaluations', y: 'fid', stroke: 'sampler', z: 'sampler', sort: 'evaluations' } as const
  return chartSvg({
    width: 720,
    height: 420,
    marginRight: 80,
    grid: true,
    x: { type: 'log', label: 'network evaluations', ticks: 6, tickFormat: 'd' },
    y: { type: 'log', label: 'FID', ticks: 6, tickFormat: '~g' },
    color: { scheme: 'Observable10' },
    marks: [
      Plot.ruleY([floor.fid.value], { stroke: 'gray', strokeDasharray: '4 4' }),
      Plot.text([floor.fid.value], {
        text: ['real pictures'],
        y: floor.fid.value,
        frameAnchor: 'left',
        textAnchor: 'start',
        dy: -6,
        fill: 'gray',
      }),
      Plot.ruleX(points, { x: 'evaluations', y1: 'low', y2: 'high', stroke: 'sampler' }),
      Plot.line(points, line),
      Plot.dot(points, { x: 'evaluations', y: 'fid', fill: 'sampler', r: 2.5 }),
      Plot.text(
        points,
        Plot.selectLast({
          x: 'evaluations',
          y: 'fid',
          z: 'sampler',
          text: 'sampler',
          fill: 'sampler',
          textAnchor: 'start',
          dx: 6,
          sort: 'evaluations',
        }),
      ),
    ],
  })
}
