import * as Plot from '@observablehq/plot'
import { chartSvg } from '../image/chart.ts'
import type { OpenedModel } from '../inference/model.ts'
import type { EvaluationSet } from './inputs/images.ts'
import type { BoundSummary } from './likelihood.ts'
import type { Conditioning, PreparedLikelihood } from './likelihood-request.ts'

const conditioningText: Readonly<Record<Conditioning, string>> = {
  unconditional: 'unconditional model',
  unlabelled: 'without class labels',
  labelled: 'with class labels',
}

/** Describes what will be measured, as text for the terminal. */
export function describeLikelihood(
  model: OpenedModel,
  { dataset, source, split }: EvaluationSet,
  { request: { varianceType, images, terms, schedule, seed }, conditioning }: PreparedLikelihood,
): string {
  return (
    `${model.description}; variances ${varianceType}\n` +
    `${images} of ${dataset.count} images of ${source} (${split}), ${conditioningText[conditioning]}; ` +
    `${terms} of ${schedule.timesteps} timesteps each, seed ${seed}`
  )
}

/** Formats a result as text for the terminal. */
export function formatLikelihood(
  { total, prior, diffusion, reconstruction, images }: BoundSummary,
  conditioning: Conditioning,
  { info: { classes, shape } }: OpenedModel,
): string {
  const error =
    total.standardError === null
      ? ''
      : ` ± ${total.standardError.toFixed(4)} (standard error over ${images} images)`
  const lines = [
    `${total.mean.toFixed(4)} bits/dim${error}`,
    `  L_T ${prior.toExponential(2)}, L_1 … L_{T−1} ${diffusion.toFixed(4)}, L_0 ${reconstruction.toFixed(4)}`,
  ]
  if (conditioning === 'labelled') {
    // −log p(x) ≤ −log p(x | class) − log p(class), with equally likely classes.
    const more = Math.log2(classes.length) / (shape.channels * shape.height * shape.width)
    lines.push(`  If the classes are unknown and equally likely: at most ${more.toFixed(4)} bits/dim more`)
  }
  return lines.join('\n')
}

/** Plots every term over t as SVG. As in the paper t starts at 1, so that L_0 is L_{t−1} at t = 1. */
export function plotLikelihood({ terms }: BoundSummary): string {
  const points = terms.flatMap((bits, t) => (bits !== null && bits > 0 ? [{ t: t + 1, bits }] : []))
  return chartSvg({
    width: 640,
    height: 360,
    grid: true,
    x: { type: 'log', label: 't', ticks: 5, tickFormat: 'd' },
    y: { type: 'log', label: 'L_{t−1}, bits/dim', tickFormat: '.0e' },
    marks: [Plot.dot(points, { x: 't', y: 'bits', r: 1.5, fill: 'steelblue' })],
  })
}
