// The optimal model of this data is known in closed form. With it, every sampler must reproduce the distribution of the
// data.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { defaultSampling, planLevels, type SamplerOptions } from '../shared/src/planning/samplers.ts'
import { runPlan } from '../shared/src/sampling/loop.ts'
import { type Convergence, measureConvergence } from './support/convergence.ts'
import { lambdaLevels } from './support/mixture.ts'

suite('orders of convergence against exact solutions', () => {
  const { flows, diffusions } = measureConvergence([256, 512])
  const testOrder = ({ name, order, measuredOrder, errors }: Convergence) =>
    test(`${name}: ${order}`, () => {
      assert.ok(Math.abs(measuredOrder - order) < 0.1, `measured ${measuredOrder}, errors ${errors}`)
      assert.ok(errors[1]! < 0.005, `errors ${errors}`)
    })
  flows.forEach(testOrder)
  diffusions.forEach(testOrder)
})

type Point = readonly [number, number]

/** A component of a mixture of normal distributions in the plane. Its covariance is [[xx, xy], [xy, yy]]. */
interface Component {
  readonly weight: number
  readonly mean: Point
  readonly xx: number
  readonly xy: number
  readonly yy: number
}

const components: readonly Component[] = [
  { weight: 0.3, mean: [-0.8, 0.5], xx: 0.05, xy: 0.03, yy: 0.04 },
  { weight: 0.7, mean: [0.6, -0.4], xx: 0.03, xy: -0.02, yy: 0.06 },
]

/** Returns E[x_0 | x]: the posterior means of the components, weighted by their likelihoods. */
function optimalX0(x: Point, alphaBar: number): Point {
  const alpha = Math.sqrt(alphaBar)
  let [total, first, second] = [0, 0, 0]
  for (const { weight, mean, ...c } of components) {
    const [xx, xy, yy] = [alphaBar * c.xx + 1 - alphaBar, alphaBar * c.xy, alphaBar * c.yy + 1 - alphaBar]
    const determinant = xx * yy - xy ** 2
    const [dx, dy] = [x[0] - alpha * mean[0], x[1] - alpha * mean[1]]
    // S⁻¹ δ
    const [u, v] = [(yy * dx - xy * dy) / determinant, (xx * dy - xy * dx) / determinant]
    const likelihood = (weight / Math.sqrt(determinant)) * Math.exp(-0.5 * (dx * u + dy * v))
    total += likelihood
    first += likelihood * (mean[0] + alpha * (c.xx * u + c.xy * v))
    second += likelihood * (mean[1] + alpha * (c.xy * u + c.yy * v))
  }
  return [first / total, second / total]
}

suite('samples of a mixture in the plane have its weights, means and covariances', () => {
  const count = 5000
  for (const [steps, options] of [
    [400, { sampler: 'ddpm' }],
    [400, { sampler: 'ddpm', varianceType: 'fixedLarge' }],
    [200, { sampler: 'ddim' }],
    [400, { sampler: 'ddim', eta: 0.5 }],
    [400, { sampler: 'ddim', eta: 'hat' }],
    [200, { sampler: 'euler' }],
    [50, { sampler: 'heun' }],
    [40, { sampler: 'dpmpp' }],
    [40, { sampler: 'dpmpp', order: 3 }],
    [60, { sampler: 'sde-dpmpp' }],
    [40, { sampler: 'unipc' }],
    [40, { sampler: 'unipc', order: 3 }],
  ] as const satisfies readonly (readonly [number, Partial<SamplerOptions>])[]) {
    test(`${JSON.stringify(options)}, ${steps} steps`, async () => {
      const levels = lambdaLevels(-4.5, 3.5, steps)
      const plan = planLevels(levels, {
        ...defaultSampling,
        steps,
        predictionType: 'x0',
        clamp: null,
        lowerOrderFinal: false,
        ...options,
      })
      const denoise = (x: Float32Array, t: number) => {
        const out = new Float32Array(x.length)
        for (let i = 0; i < x.length; i += 2) {
          out.set(optimalX0([x[i]!, x[i + 1]!], levels[t]!.alphaBar), i)
        }
        return out
      }
      const images = Array.from({ length: count }, (_, i) => i)
      const x = await runPlan(plan, denoise, { seed: 3, indices: images, size: 2 })
      assertMixture(x, levels[steps]!.alphaBar)
    })
  }

  function assertMixture(x: Float32Array, alphaBar: number): void {
    const groups: Point[][] = components.map(() => [])
    const alpha = Math.sqrt(alphaBar)
    for (let i = 0; i < x.length; i += 2) {
      const point: Point = [x[i]!, x[i + 1]!]
      const distances = components.map(({ mean }) =>
        Math.hypot(point[0] - alpha * mean[0], point[1] - alpha * mean[1]),
      )
      groups[distances.indexOf(Math.min(...distances))]!.push(point)
    }
    for (const [k, points] of groups.entries()) {
      const { weight, mean, ...c } = components[k]!
      const average = (f: (point: Point) => number) =>
        points.reduce((sum, point) => sum + f(point), 0) / points.length
      const assertNear = (label: string, actual: number, expected: number, deviation: number) => {
        // Four standard errors, plus 0.01 for the discretization error.
        const tolerance = (4 * deviation) / Math.sqrt(points.length) + 0.01
        assert.ok(
          Math.abs(actual - expected) < tolerance,
          `${label} of component ${k}: ${actual}, expected ${expected}`,
        )
      }
      assertNear('weight', points.length / count, weight, Math.sqrt(weight * (1 - weight)))
      const [mx, my] = [average(([px]) => px), average(([, py]) => py)]
      const [xx, xy, yy] = [alphaBar * c.xx + 1 - alphaBar, alphaBar * c.xy, alphaBar * c.yy + 1 - alphaBar]
      assertNear('mean x', mx, alpha * mean[0], Math.sqrt(xx))
      assertNear('mean y', my, alpha * mean[1], Math.sqrt(yy))
      assertNear(
        'variance x',
        average(([px]) => (px - mx) ** 2),
        xx,
        Math.SQRT2 * xx,
      )
      assertNear(
        'variance y',
        average(([, py]) => (py - my) ** 2),
        yy,
        Math.SQRT2 * yy,
      )
      assertNear(
        'covariance',
        average(([px, py]) => (px - mx) * (py - my)),
        xy,
        Math.sqrt(xx * yy + xy ** 2),
      )
    }
  }
})
