// Data whose best network is known in closed form: every sampler has to find back to it.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Convergence, measureConvergence } from '../../../test/support/convergence.ts'
import { lambdaLevels } from '../../../test/support/mixture.ts'
import { defaultSampling, planLevels, type SamplerOptions } from '../planning/samplers.ts'
import { runPlan } from './loop.ts'

suite('orders of convergence against exact solutions', () => {
  const { flows, diffusions } = measureConvergence([256, 512])
  const assertOrder = ({ name, order, found, errors }: Convergence) =>
    test(`${name}: ${order}`, () => {
      assert.ok(Math.abs(found - order) < 0.1, `found ${found}, errors ${errors}`)
      assert.ok(errors[1]! < 0.005, `errors ${errors}`)
    })
  flows.forEach(assertOrder)
  diffusions.forEach(assertOrder)
})

type Point = readonly [number, number]

/** A part of a mixture of normal distributions in the plane; its covariance is [[xx, xy], [xy, yy]]. */
interface Blob {
  readonly weight: number
  readonly mean: Point
  readonly xx: number
  readonly xy: number
  readonly yy: number
}

const blobs: readonly Blob[] = [
  { weight: 0.3, mean: [-0.8, 0.5], xx: 0.05, xy: 0.03, yy: 0.04 },
  { weight: 0.7, mean: [0.6, -0.4], xx: 0.03, xy: -0.02, yy: 0.06 },
]

/** E[x_0 | x]: the normal formula within each blob, weighed by how likely each made x. */
function bestX0(x: Point, alphaBar: number): Point {
  const alpha = Math.sqrt(alphaBar)
  let [total, first, second] = [0, 0, 0]
  for (const { weight, mean, ...c } of blobs) {
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

suite('a mixture in the plane: weights, means and covariances of its parts come out', () => {
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
          out.set(bestX0([x[i]!, x[i + 1]!], levels[t]!.alphaBar), i)
        }
        return out
      }
      const images = Array.from({ length: count }, (_, i) => i)
      const x = await runPlan(plan, denoise, { seed: 3, indices: images, size: 2 })
      assertMixture(x, levels[steps]!.alphaBar)
    })
  }

  function assertMixture(x: Float32Array, alphaBar: number): void {
    const groups: Point[][] = blobs.map(() => [])
    const alpha = Math.sqrt(alphaBar)
    for (let i = 0; i < x.length; i += 2) {
      const point: Point = [x[i]!, x[i + 1]!]
      const distances = blobs.map(({ mean }) =>
        Math.hypot(point[0] - alpha * mean[0], point[1] - alpha * mean[1]),
      )
      groups[distances.indexOf(Math.min(...distances))]!.push(point)
    }
    for (const [k, points] of groups.entries()) {
      const { weight, mean, ...c } = blobs[k]!
      const average = (f: (point: Point) => number) =>
        points.reduce((sum, point) => sum + f(point), 0) / points.length
      const within = (what: string, found: number, wanted: number, deviation: number) => {
        // Four standard errors, and a hundredth for what the steps are too few for.
        const tolerance = (4 * deviation) / Math.sqrt(points.length) + 0.01
        assert.ok(Math.abs(found - wanted) < tolerance, `${what} of part ${k}: ${found}, not ${wanted}`)
      }
      within('weight', points.length / count, weight, Math.sqrt(weight * (1 - weight)))
      const [mx, my] = [average(([px]) => px), average(([, py]) => py)]
      const [xx, xy, yy] = [alphaBar * c.xx + 1 - alphaBar, alphaBar * c.xy, alphaBar * c.yy + 1 - alphaBar]
      within('mean x', mx, alpha * mean[0], Math.sqrt(xx))
      within('mean y', my, alpha * mean[1], Math.sqrt(yy))
      within(
        'variance x',
        average(([px]) => (px - mx) ** 2),
        xx,
        Math.SQRT2 * xx,
      )
      within(
        'variance y',
        average(([, py]) => (py - my) ** 2),
        yy,
        Math.SQRT2 * yy,
      )
      within(
        'covariance',
        average(([px, py]) => (px - mx) * (py - my)),
        xy,
        Math.sqrt(xx * yy + xy ** 2),
      )
    }
  }
})
