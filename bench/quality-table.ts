import * as Plot from '@observablehq/plot'
import { type Scores, scoreNames } from '../trainer/src/evaluation/metrics/compare.ts'
import { formatScore } from '../trainer/src/evaluation/report.ts'
import { chartSvg } from '../trainer/src/image/chart.ts'

/** One cell of the table. */
export interface Measured {
  readonly sampler: string
  readonly steps: number
  /** Model evaluations per image; some samplers need two per step. */
  readonly evaluations: number
  readonly scores: Scores
}

/** Returns the table in Markdown. The last row compares real images with other real images. */
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
    ['real images', '', '', ...figures(floor)],
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map((row) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`)
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return `${title}\n\n${[lines[0], rule, ...lines.slice(1)].join('\n')}\n`
}

/** Returns an SVG chart of FID over model evaluations: one line per sampler, and one for real images. */
export function qualityChart(measured: readonly Measured[], floor: Scores): string {
  const points = measured.map(({ sampler, evaluations, scores: { fid } }) => ({
    sampler,
    evaluations,
    fid: fid.value,
    low: Math.max(fid.value - (fid.halfWidth ?? 0), 1e-3),
    high: fid.value + (fid.halfWidth ?? 0),
  }))
  const names = [...new Set(points.map(({ sampler }) => sampler))]
  const line = { x: 'evaluations', y: 'fid', stroke: 'sampler', z: 'sampler', sort: 'evaluations' } as const
  return chartSvg({
    width: 720,
    height: 420,
    marginRight: 80,
    insetLeft: 12,
    grid: true,
    x: { type: 'log', label: 'network evaluations', ticks: 6, tickFormat: 'd' },
    y: { type: 'log', label: 'FID', ticks: 6, tickFormat: '~g' },
    color: { scheme: 'Observable10' },
    marks: [
      Plot.ruleY([floor.fid.value], { stroke: 'gray', strokeDasharray: '4 4' }),
      Plot.text([floor.fid.value], {
        text: ['real images'],
        y: floor.fid.value,
        frameAnchor: 'left',
        textAnchor: 'start',
        dy: -6,
        fill: 'gray',
      }),
      // Points with the same number of evaluations are shifted, so that they do not overlap.
      ...names.flatMap((name, i) => {
        const samplerPoints = points.filter(({ sampler }) => sampler === name)
        const dx = 2 * i - names.length + 1
        return [
          Plot.ruleX(samplerPoints, { x: 'evaluations', y1: 'low', y2: 'high', stroke: 'sampler', dx }),
          Plot.line(samplerPoints, { ...line, dx }),
          Plot.dot(samplerPoints, { x: 'evaluations', y: 'fid', fill: 'sampler', r: 2.5, dx }),
        ]
      }),
      Plot.text(
        points,
        withoutOverlap(
          Plot.selectLast({
            x: 'evaluations',
            y: 'fid',
            z: 'sampler',
            text: 'sampler',
            fill: 'sampler',
            textAnchor: 'start',
            dx: 10,
            sort: 'evaluations',
          }),
        ),
      ),
    ],
  })
}

/** Moves labels down so that they do not overlap. */
function withoutOverlap(options: Plot.TextOptions): Plot.TextOptions {
  const [width, height] = [70, 12]
  return Plot.initializer(options, (data, facets, { x, y }, scales) => {
    const across = Array.from(x!.value as number[], (value) => scales.x!(value) as number)
    const down = Array.from(y!.value as number[], (value) => scales.y!(value) as number)
    for (const index of facets) {
      const placed: number[] = []
      for (const i of Array.from(index).sort((a, b) => down[a]! - down[b]!)) {
        for (const other of placed) {
          if (Math.abs(across[i]! - across[other]!) < width)
            down[i] = Math.max(down[i]!, down[other]! + height)
        }
        placed.push(i)
      }
    }
    return { data, facets, channels: { y: { value: down } } }
  })
}
