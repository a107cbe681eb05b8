import assert from 'node:assert/strict'
import { test } from 'node:test'
import { domains, fillNormals } from '@ddpm/shared'
import { backward, createMlp, forward } from './network.ts'

const sizes = [4, 8, 8, 2]
const count = 8
const mlp = createMlp(sizes, 1)
// Biases other than 0, so that the test covers them.
fill(2).forEach((value, i) => (mlp.parameters[i % mlp.parameters.length]! += 0.3 * value))
const input = fill(3).slice(0, count * 4)
const weights = fill(4).slice(0, count * 2)

test('the gradient equals finite differences for every parameter', () => {
  /** A loss whose gradient for the output is `weights`. */
  const loss = () => forward(mlp, input, count).output.reduce((sum, y, i) => sum + weights[i]! * y, 0)
  const gradient = backward(mlp, forward(mlp, input, count), weights)
  assert.equal(gradient.length, (4 + 1) * 8 + (8 + 1) * 8 + (8 + 1) * 2)
  const h = 1e-5
  for (let i = 0; i < gradient.length; i++) {
    const value = mlp.parameters[i]!
    mlp.parameters[i] = value + h
    const above = loss()
    mlp.parameters[i] = value - h
    const below = loss()
    mlp.parameters[i] = value
    const expected = (above - below) / (2 * h)
    assert.ok(
      Math.abs(gradient[i]! - expected) < 1e-7 * Math.max(1, Math.abs(expected)),
      `parameter ${i}: ${gradient[i]} instead of ${expected}`,
    )
  }
})

test('the forward pass follows its definition, for each input independently of the others', () => {
  const { output } = forward(mlp, input, count)
  for (let n = 0; n < count; n++) {
    let offset = 0
    let h = [...input.subarray(n * 4, n * 4 + 4)]
    for (const [layer, outputs] of sizes.slice(1).entries()) {
      const inputs = h.length
      const z = Array.from({ length: outputs }, (_, j) =>
        h.reduce(
          (sum, value, i) => sum + value * mlp.parameters[offset + i * outputs + j]!,
          mlp.parameters[offset + inputs * outputs + j]!,
        ),
      )
      h = layer === sizes.length - 2 ? z : z.map((value) => value / (1 + Math.exp(-value)))
      offset += (inputs + 1) * outputs
    }
    for (const [j, value] of h.entries()) assert.ok(Math.abs(output[n * 2 + j]! - value) < 1e-12)
  }
})

/** Returns 130 normal numbers, as many as there are parameters. */
function fill(seed: number): Float64Array {
  const normals = new Float32Array(130)
  fillNormals(seed, { domain: domains.sampling, image: 0, step: 0 }, normals)
  return Float64Array.from(normals)
}
