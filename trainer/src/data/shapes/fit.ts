import { isRound, ranges, side } from './dataset.ts'
import { type Figure, figures, type Pose, renderFigure } from './figures.ts'

/** A figure in the pose that fits an image best. */
export interface Fit extends Pose {
  readonly figure: Figure
  /** Sum over all pixels of the squared difference of coverage. */
  readonly loss: number
}

/** The ranges of the set with a small margin. A figure outside them does not belong to the set. */
const bounds = {
  x: widened(ranges.centre, 2),
  y: widened(ranges.centre, 2),
  radius: widened(ranges.radius, 0.75),
  angle: widened(ranges.angle, 0.2),
}

const template = new Float32Array(side * side)
const unitAreas = figures.map((figure) => {
  renderFigure(figure, { x: side / 2, y: side / 2, radius: 10, angle: 0 }, side, template)
  return sum(template) / 10 ** 2
})

/**
 * Returns the figures that fit an image best, each in its best pose, best first. Centroid and area give an initial pose for
 * every figure; a search refines the best ones.
 * @param alpha [32, 32], fraction of each pixel covered by the figure, 0 to 1
 * @param count number of figures to refine
 */
export function fitFigures(alpha: Float32Array, count: number): Fit[] {
  return figures
    .map((figure, index) => evaluate(figure, initialPose(alpha, unitAreas[index]!), alpha))
    .sort(byLoss)
    .slice(0, count)
    .map((fit) => refine(fit, alpha))
    .sort(byLoss)
}

function initialPose(alpha: Float32Array, unitArea: number): Pose {
  let mass = 0
  let massX = 0
  let massY = 0
  alpha.forEach((a, pixel) => {
    if (a < 0.1) return // Noise in the background would move the centroid towards the middle.
    mass += a
    massX += a * ((pixel % side) + 0.5)
    massY += a * (Math.floor(pixel / side) + 0.5)
  })
  return {
    x: clamp(massX / mass, bounds.x),
    y: clamp(massY / mass, bounds.y),
    radius: clamp(Math.sqrt(mass / unitArea), bounds.radius),
    angle: 0,
  }
}

/** Refines a pose by compass search (Kolda, Lewis and Torczon 2003): steps along each axis, halved when none improves. */
function refine(start: Fit, alpha: Float32Array): Fit {
  const axes = isRound(start.figure)
    ? (['x', 'y', 'radius'] as const)
    : (['angle', 'x', 'y', 'radius'] as const)
  let best = start
  for (let step = 0.5; step > 0.1; ) {
    const before = best
    for (const axis of axes) {
      // A rotation by step/8 moves the rim of a figure of radius 8 by about a step.
      const stride = axis === 'angle' ? step / 8 : step
      for (const move of [stride, -stride]) {
        const pose = { ...best, [axis]: clamp(best[axis] + move, bounds[axis]) }
        const fit = evaluate(best.figure, pose, alpha)
        if (fit.loss < best.loss) best = fit
      }
    }
    if (best === before) step /= 2
  }
  return best
}

function evaluate(figure: Figure, { x, y, radius, angle }: Pose, alpha: Float32Array): Fit {
  const pose = { x, y, radius, angle }
  renderFigure(figure, pose, side, template)
  let loss = 0
  for (let pixel = 0; pixel < alpha.length; pixel++) loss += (alpha[pixel]! - template[pixel]!) ** 2
  return { figure, ...pose, loss }
}

function byLoss(a: Fit, b: Fit): number {
  return a.loss - b.loss
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0)
}

function clamp(value: number, [low, high]: readonly [number, number]): number {
  return Math.min(high, Math.max(low, value))
}

function widened([low, high]: readonly [number, number], by: number): readonly [number, number] {
  return [low - by, high + by]
}
