import type { FactorDistance } from './factors.ts'
import type { Split } from './images.ts'
import type { Scores } from './metrics/compare.ts'

/** All that an evaluation says and all that decides it: what is written as JSON. */
export interface QualityReport {
  readonly model: { readonly description: string; readonly weights: string; readonly digest: string }
  readonly drawn: {
    readonly count: number
    readonly sampler: string
    readonly steps: number
    /** Of the network per picture, guidance aside. */
    readonly evaluations: number
    readonly spacing: string
    readonly eta: number
    readonly guidance: number
    readonly className: string | null
    readonly seed: number
  }
  readonly reference: {
    readonly source: string
    readonly split: Split
    readonly count: number
    readonly of: number
  }
  readonly features: { readonly description: string; readonly dims: number; readonly digest: string }
  readonly neighbours: number
  readonly replicates: number
  readonly scores: Scores
  /** Of the built-in set alone. */
  readonly shapes?: {
    readonly valid: number
    readonly rejected: Readonly<Record<string, number>>
    readonly factors: readonly FactorDistance[]
  }
}

/** From so few pictures on FID says more about their number than about the model. */
const fewestImages = 2000

const labels: { readonly [name in keyof Scores]: readonly [label: string, digits: number] } = {
  fid: ['FID', 3],
  kid: ['KID', 5],
  precision: ['precision', 3],
  recall: ['recall', 3],
  density: ['density', 3],
  coverage: ['coverage', 3],
}

/** A figure with its error bar. */
export function formatScore(scores: Scores, name: keyof Scores): string {
  const { value, halfWidth } = scores[name]
  const [, digits] = labels[name]
  return `${value.toFixed(digits)}${halfWidth === null ? '' : ` ± ${halfWidth.toFixed(digits)}`}`
}

/** The report for people. */
export function formatReport(report: QualityReport): string {
  const { model, drawn, reference, features, scores, shapes, neighbours, replicates } = report
  const lines = [
    model.description,
    `Drawn: ${drawn.count} pictures${drawn.className === null ? '' : ` of class ${drawn.className}`}, ${drawn.sampler}, ` +
      `${drawn.steps} steps (${drawn.evaluations} evaluations), spacing ${drawn.spacing}, η ${drawn.eta}, guidance ${drawn.guidance}, seed ${drawn.seed}`,
    `Against: ${reference.count} of ${reference.of} pictures of ${reference.source} (${reference.split})`,
    `Features: ${features.dims} of ${features.description}`,
    '',
    ...(Object.keys(labels) as (keyof Scores)[]).map(
      (name) => `  ${labels[name][0].padEnd(10)} ${formatScore(scores, name)}`,
    ),
    '',
    `k = ${neighbours}${replicates === 0 ? '' : `; ± is half of the bootstrap's 95 % interval, ${replicates} replicates`}`,
  ]
  const fewest = Math.min(drawn.count, reference.count)
  if (fewest < fewestImages) {
    lines.push(
      `Warning: with ${fewest} pictures FID is biased upwards, by more the fewer they are. Take at least ` +
        `${fewestImages}, and compare only with figures of as many.`,
    )
  }
  if (shapes) {
    const share = (100 * shapes.valid) / drawn.count
    const reasons = Object.entries(shapes.rejected).sort(([, a], [, b]) => b - a)
    lines.push(
      '',
      `${shapes.valid} of ${drawn.count} (${share.toFixed(1)} %) read as one clean figure of the set`,
      ...reasons.map(([reason, count]) => `  ${count} × ${reason}`),
      'Total variation from the data (what as many pictures of the data itself would show):',
      ...shapes.factors.map(
        ({ factor, distance, chance }) =>
          `  ${factor.padEnd(18)} ${distance.toFixed(3)} (${chance.toFixed(3)})`,
      ),
    )
  }
  return lines.join('\n')
}
