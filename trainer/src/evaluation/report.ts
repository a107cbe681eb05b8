import type { Scores } from './metrics/compare.ts'
import type { GeneratedByModel, QualityReport } from './quality.ts'

/** With fewer images, FID depends more on their number than on the model. */
const minImages = 2000

const labels: { readonly [name in keyof Scores]: readonly [label: string, digits: number] } = {
  fid: ['FID', 3],
  kid: ['KID', 5],
  precision: ['precision', 3],
  recall: ['recall', 3],
  density: ['density', 3],
  coverage: ['coverage', 3],
}

/** Formats a report as text for the terminal. */
export function formatReport(report: QualityReport): string {
  const { model, generated, reference, features, scores, neighbours, replicates } = report
  const count = Math.min(generated.count, reference.count)
  return [
    ...(model ? [model.description] : []),
    'folders' in generated
      ? `Samples: ${generated.count} images of ${generated.folders.join(', ')}`
      : `Generated: ${describeGenerated(generated)}`,
    `Compared with: ${reference.count} of ${reference.of} images of ${reference.source} (${reference.split})`,
    `Features: ${features.dims} of ${features.description}`,
    '',
    ...(Object.keys(labels) as (keyof Scores)[]).map(
      (name) => `  ${labels[name][0].padEnd(10)} ${formatScore(scores, name)}`,
    ),
    '',
    `k = ${neighbours}${replicates === 0 ? '' : `; ± is half the width of the bootstrap's 95 % interval, ${replicates} replicates`}`,
    ...(count < minImages ? [smallSampleWarning(count)] : []),
    ...parsedLines(report),
  ].join('\n')
}

function describeGenerated(generated: GeneratedByModel): string {
  const { count, className, sampler, steps, evaluations, spacing, guidance, seed } = generated
  return [
    `${count} images${className === null ? '' : ` of class ${className}`}`,
    sampler,
    `${steps} steps (${evaluations} evaluations)`,
    `spacing ${spacing}`,
    ...samplerDetails(generated),
    `guidance ${guidance}`,
    `seed ${seed}`,
  ].join(', ')
}

/** Describes the options that only some samplers have. */
function samplerDetails({ sampler, eta, order, varianceType, epsilon }: GeneratedByModel): string[] {
  if (sampler === 'ddpm') return [`variance ${varianceType}`]
  if (sampler === 'ddim') return [`η ${eta}`, ...(epsilon === 'raw' ? ['raw ε'] : [])]
  return sampler === 'euler' || sampler === 'heun' ? [] : [`order ${order}`]
}

/** Formats a metric with its error bar. */
export function formatScore(scores: Scores, name: keyof Scores): string {
  const { value, halfWidth } = scores[name]
  const [, digits] = labels[name]
  return `${value.toFixed(digits)}${halfWidth === null ? '' : ` ± ${halfWidth.toFixed(digits)}`}`
}

function smallSampleWarning(count: number): string {
  return (
    `Warning: with ${count} images FID is biased upwards; the fewer images, the larger the bias. Use at least ` +
    `${minImages} images, and compare only scores with equal counts.`
  )
}

function parsedLines({ parsed, generated }: QualityReport): string[] {
  if (parsed === undefined) return []
  const share = (count: number, of: number) => `${count} of ${of} (${((100 * count) / of).toFixed(1)} %)`
  const reasons = Object.entries(parsed.rejected).sort(([, a], [, b]) => b - a)
  return [
    '',
    `${share(parsed.valid, generated.count)} show ${parsed.clean} of the dataset`,
    ...reasons.map(([reason, count]) => `  ${count} × ${reason}`),
    ...(parsed.asRequested === null || parsed.valid === 0
      ? []
      : [`Of these, ${share(parsed.asRequested, parsed.valid)} show the requested class`]),
    'Total variation distance from the dataset (in parentheses: expected by chance for this number of images):',
    ...parsed.factors.map(
      ({ factor, distance, chance }) =>
        `  ${factor.padEnd(18)} ${distance.toFixed(3)} (${chance.toFixed(3)})`,
    ),
  ]
}
