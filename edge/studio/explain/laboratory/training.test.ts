import assert from 'node:assert/strict'
import { test } from 'node:test'
import { initialNoise, sampleTrajectories } from './diffusion.ts'
import { createShape, jitter, meanDistance, shapes } from './points.ts'
import { createTraining } from './training.ts'

/** 200 points around (−1, 0.5) and (1, −0.5), in turn. */
const centres = Float32Array.of(-1, 0.5, 1, -0.5)
const deviation = 0.1
const blobs = jitter(5, 200, deviation).map((value, i) => value + centres[i % 4]!)

function train(seed: number, steps: number) {
  const training = createTraining(blobs, seed, steps)
  while (training.step < steps) training.advance()
  return training
}

test('after training on two blobs, every sampler generates points near both', async () => {
  const { network, loss } = train(1, 250)
  assert.ok(loss < 0.5, `loss ${loss}`)
  for (const [sampler, steps] of [
    ['ddpm', 50],
    ['ddim', 20],
    ['dpmpp', 15],
  ] as const) {
    const trajectory = await sampleTrajectories(network, { sampler, steps, seed: 3, count: 100 })
    assert.equal(trajectory.length, steps + 1)
    assert.deepEqual(trajectory[0], initialNoise(3, 100), 'every sampler starts from the same noise')
    const samples = trajectory.at(-1)!
    // The mean distance of normal points from their centre is deviation·√(π/2), 0.125.
    const distance = meanDistance(samples, centres)
    assert.ok(distance < 0.3, `${sampler}: mean distance ${distance}`)
    const left = samples.filter((x, i) => i % 2 === 0 && x < 0).length
    assert.ok(left > 30 && left < 70, `${sampler}: ${left} of 100 samples are in the left blob`)
  }
})

test('the same points and seed give the same network, another seed gives another', () => {
  const { network } = train(1, 3)
  assert.deepEqual(train(1, 3).network.parameters, network.parameters)
  assert.notDeepEqual(train(2, 3).network.parameters, network.parameters)
})

test('every shape lies in the square and is the same each time', () => {
  for (const shape of shapes) {
    const points = createShape(shape)
    assert.ok(
      points.every((value) => Math.abs(value) < 1.5),
      shape,
    )
    assert.deepEqual(createShape(shape), points)
  }
})
