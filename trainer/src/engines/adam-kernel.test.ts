import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { domains, fillNormals } from '@ddpm/shared'
import openWabt from 'wabt'
import { adamStepInPlace, mapState, stateNames, stepScalars } from '../step/optimizer.ts'
import { createAdamMemory } from './adam-kernel.ts'

/** Gradients of different magnitudes, as in a network. */
const magnitude = (i: number) => 10 ** ((i % 9) - 6)

const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8 }

test('the binary form is that of adam.wat', async () => {
  const wabt = await openWabt()
  const text = await readFile(new URL('adam.wat', import.meta.url), 'utf8')
  const { buffer } = wabt.parseWat('adam.wat', text).toBinary({})
  const source = await readFile(new URL('adam-kernel.ts', import.meta.url), 'utf8')
  const binary = [...source.matchAll(/^ {2}'([\w+/=]+)'/gm)].map(([, part]) => part).join('')
  assert.equal(binary, Buffer.from(buffer).toString('base64'))
})

test('ten steps equal those in float64, for lengths that are and are not multiples of four', () => {
  for (const length of [1, 6, 64, 1001]) {
    const normals = (image: number, scale = 1) => {
      const out = new Float32Array(length)
      fillNormals(3, { domain: domains.initialization, image, step: 0 }, out)
      return out.map((value) => value * scale)
    }
    const initial = mapState((name) =>
      name === 'parameters' || name === 'ema' ? normals(1) : new Float32Array(length),
    )
    const expected = mapState((name) => Float64Array.from(initial[name]))
    const memory = createAdamMemory(initial, adam)
    assert.equal(initial.parameters.length, 0)
    for (let step = 1; step <= 10; step++) {
      const scalars = stepScalars(adam, { step, learningRate: 1e-2, weightDecay: 0.1, emaDecay: 0.9 })
      const gradient = normals(step + 1).map((value, i) => value * magnitude(i))
      memory.gradient.set(gradient)
      memory.step(0.5, scalars)
      adamStepInPlace(expected as never, gradient, 0.5, scalars, adam)
    }
    for (const name of stateNames) {
      assert.equal(memory.state[name].length, length)
      for (const [i, value] of memory.state[name].entries()) {
        const reference = expected[name][i]!
        const scale = { parameters: 1, ema: 1, firstMoment: magnitude(i), secondMoment: magnitude(i) ** 2 }[
          name
        ]
        const tolerance = 2e-6 * scale
        assert.ok(Math.abs(value - reference) <= tolerance, `${name}[${i}]: ${value}, expected ${reference}`)
      }
    }
  }
})

test('a step on 200,000 elements changes nothing outside the vectors', () => {
  const length = 200_003
  const initial = mapState(() => new Float32Array(length).fill(0.25))
  const { state, gradient, step } = createAdamMemory(initial, adam)
  assert.deepEqual(new Set(gradient), new Set([0]))
  step(1, stepScalars(adam, { step: 1, learningRate: 0, weightDecay: 0, emaDecay: 1 }))
  assert.deepEqual(new Set(state.parameters), new Set([0.25]))
  assert.deepEqual(new Set(state.ema), new Set([0.25]))
  assert.deepEqual(new Set(gradient), new Set([0]))
})
